import { join } from 'node:path';
import { removeEndpoints } from '../../client/config/endpoints';
import { ensureLayout, stopOrder, type StackLayout } from './stack-layout';
import { isProcessRunning } from '../../lib/process-identity';
import { endPostgresLeftovers } from './postgres-leftovers';
import { endProcess, endRecordedProcesses, readProcessFile } from './process-files';
import { acquireProcessLock, describeHolder } from '../../activities/process-lock';

/** Longer than any part needs to stop. */
const SUPERVISOR_DEADLINE_MS = 120_000;

/**
 * Ends the supervisor of a data directory, which stops its parts, and then whatever a killed one left. @returns what
 * was stopped, for people.
 */
export async function stopStack(dataDirectory: string): Promise<string> {
  const layout = ensureLayout(dataDirectory);
  const supervisor = readProcessFile(layout.lock);
  const wasRunning = supervisor !== undefined && isProcessRunning(supervisor);
  if (wasRunning) await endProcess(supervisor, ['SIGTERM', 'SIGKILL'], SUPERVISOR_DEADLINE_MS);
  const lock = await acquireProcessLock(layout.lock);
  if (lock.kind === 'held')
    return wasRunning
      ? `stopped, and started again by ${describeHolder(lock.by)} meanwhile`
      : `not stopped: ${describeHolder(lock.by)} runs it; stop it there`;
  try {
    removeEndpoints(dataDirectory);
    const ended = await endLeftovers(layout);
    if (wasRunning) return `stopped the stack of ${dataDirectory}`;
    return ended.length > 0
      ? `ended the leftovers of a killed run: ${ended.join(', ')}`
      : `nothing is running for ${dataDirectory}`;
  } finally {
    lock.release();
  }
}

/**
 * Ends what a supervisor that was killed left running. Only the holder of the stack's lock may call this. @returns the
 * parts that were ended.
 */
export async function endLeftovers({ run, postgres }: StackLayout): Promise<string[]> {
  const ended = await endRecordedProcesses(run, stopOrder);
  await endPostgresLeftovers(join(postgres, 'data'));
  return ended;
}
