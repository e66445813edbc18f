import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { isProcessRunning, type ProcessIdentity, parseProcess } from '../../lib/process-identity';
import { waitFor } from './wait';
import { hasCode } from '../../lib/errno';
import { writeFileAtomically } from '../../lib/files';

/** Records which process a part is, so that a later supervisor can end it and nothing else. Mode 0600. */
export function writeProcessFile(path: string, identity: ProcessIdentity): void {
  writeFileAtomically(path, JSON.stringify(identity));
}

/**
 * @returns the process that `path` names, or undefined when the file is absent or damaged. It need not run any more.
 */
export function readProcessFile(path: string): ProcessIdentity | undefined {
  try {
    return parseProcess(readFileSync(path, 'utf8'));
  } catch {
    return undefined;
  }
}

/** Ends every process that a `*.pid` file of `directory` names and that still runs, the last started first.
 *  @returns the names of the parts that were ended. */
export async function endRecordedProcesses(directory: string, stopOrder: readonly string[]): Promise<string[]> {
  const ended: string[] = [];
  for (const name of recordedNames(directory, stopOrder)) {
    const path = join(directory, `${name}.pid`);
    const identity = readProcessFile(path);
    if (identity && isProcessRunning(identity)) {
      await endProcess(identity, ['SIGINT', 'SIGKILL']);
      ended.push(name);
    }
    rmSync(path, { force: true });
  }
  return ended;
}

/** Kills at once every process that a `*.pid` file of `directory` names; for a supervisor that has no time left. */
export function killRecordedProcesses(directory: string): void {
  for (const name of recordedNames(directory, [])) {
    const identity = readProcessFile(join(directory, `${name}.pid`));
    if (identity && isProcessRunning(identity)) sendSignal(identity.pid, 'SIGKILL');
  }
}

const SIGNAL_DEADLINE_MS = 15_000;

/** Sends each signal in turn until exactly this process is gone. Does nothing when it is. */
export async function endProcess(
  identity: ProcessIdentity,
  signals: readonly NodeJS.Signals[],
  deadlineMs = SIGNAL_DEADLINE_MS,
): Promise<void> {
  for (const [index, signal] of signals.entries()) {
    if (!isProcessRunning(identity)) return;
    sendSignal(identity.pid, signal);
    const gone = waitFor(() => (isProcessRunning(identity) ? undefined : true), {
      what: `process ${identity.pid} to end after ${signal}`,
      deadlineMs,
      intervalMs: 20,
    });
    await (index === signals.length - 1 ? gone : gone.catch(() => undefined));
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error;
  }
}

function recordedNames(directory: string, order: readonly string[]): string[] {
  const names = listDirectory(directory)
    .filter((file) => file.endsWith('.pid'))
    .map((file) => file.slice(0, -'.pid'.length));
  const rank = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  return names.sort((left, right) => rank(left) - rank(right));
}

function listDirectory(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
