import { join } from 'node:path';
import { stopOrder, type Layout } from './layout';
import { endPostgresLeftovers } from './postgres-leftovers';
import { endRecordedProcesses } from './process-files';

/** Ends what a supervisor that was killed left running. Only the holder of the stack's lock may call this. @returns the parts that were ended. */
export async function endLeftovers({ run, postgres }: Layout): Promise<string[]> {
  const ended = await endRecordedProcesses(run, stopOrder);
  await endPostgresLeftovers(join(postgres, 'data'));
  return ended;
}
