import { WorkflowNotFoundError } from '@temporalio/client';
import { giveUpFlight } from '../../db/flights';
import type { BackendName } from '../../workflows/contract/ids';
import type { ControlDependencies } from '../dependencies';

/**
 * Ends the key's flight where `population.whenNobodyWaits` says so: a create began it, none waits for it any more, and its bytes have not all come. What it made
 * is undone; who asks for the image meanwhile leads the next flight. Idempotent.
 */
export async function stopUnwantedFlight(
  { config, database, temporal, queues }: ControlDependencies,
  { backend, shortKey }: { backend: BackendName; shortKey: string },
): Promise<void> {
  if (config.population.whenNobodyWaits === 'finish') return;
  const workflowId = queues.ids.populate(backend, shortKey);
  const given = await giveUpFlight(database, { backend, shortKey, workflowId });
  // A run that has not claimed its flight yet finds it answered and closes.
  if (!given?.runId) return;
  try {
    await temporal.workflow.getHandle(workflowId, given.runId).cancel();
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError)) throw error;
  }
}
