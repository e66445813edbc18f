import { join } from 'node:path';
import { stopOrder, type StackLayout } from './stack-layout';
import { endPostgresLeftovers } from './postgres-leftovers';
import { endRecordedProcesses } from './process-files';

/** Ends what a supervisor that was killed left running. Only the holder of the stack's lock may call this. @returns the parts that were ended. */
export async function endLeftovers({ run, postgres }: StackLayout): Promise<string[]> {
  const ended = await endRecordedProcesses(run, stopOrder);
  await endPostgresLeftovers(join(postgres, 'data'));
  return ended;
}
