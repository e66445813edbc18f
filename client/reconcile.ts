import { randomUUID } from 'node:crypto';
import type { BackendName } from '../workflows/contract/ids';
import { workflowTypes } from '../workflows/contract/names';
import type { ReconcileInput, ReconcileResult } from '../workflows/contract/reconcile';
import type { ImageVolumeCache } from './connection';
import { runWorkflow, type Ran, type RunOptions } from './run-workflow';

/**
 * Compares rows with what the backend and the scratches really hold and repairs what the table of findings says, as the
 * schedule does. A plain look that runs is
 * joined; one that is asked for something particular runs by itself, since two at once do no harm.
 * @throws ImageVolumeCacheError `InvalidRequest`, `TemporalUnavailable`, `WaitInterrupted`.
 */
export async function reconcile<Options extends RunOptions>(
  cache: ImageVolumeCache,
  { backend: named, ...asked }: Omit<ReconcileInput, 'backend'> & { backend?: string },
  options: Options,
): Promise<Ran<ReconcileResult, Options>> {
  const backend = named as BackendName | undefined;
  const isPlain = !Object.values(asked).some(Boolean);
  const id = cache.queues.ids.reconcile(backend ?? ('default' as BackendName));
  const request = {
    type: workflowTypes.reconcileBackend,
    workflowId: isPlain && backend !== undefined ? id : `${id}/${randomUUID()}`,
    conflict: 'USE_EXISTING',
    input: { ...asked, ...(backend !== undefined && { backend }) },
    summary: `${asked.dryRun ? 'look at' : 'reconcile'} ${backend === undefined ? 'the default backend' : `backend ${backend}`}`,
  } as const;
  return await runWorkflow<ReconcileResult, Options>(cache, request, { options });
}
