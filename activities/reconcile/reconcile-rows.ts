import type { BackendName } from '../../workflows/contract/ids';
import type { ReconcileStep } from '../../workflows/contract/reconcile';
import type { BackendDependencies } from '../dependencies';
import { repairCloneCounts, repairEntryDeletions, repairPopulating } from './entry-rows';
import { beginRun } from './run';
import { repairCreating, repairDeleting } from './volume-rows';

/**
 * Looks for rows that wait for a run which is dead, and ends them as that run would have. On the backend's queue: what a dead run has made is removed
 * there. Heartbeats; repeated, killed or late it goes on from what the inventory says.
 * @throws BackendUnavailable, DatabaseUnavailable (retried).
 */
export function createReconcileRows(deps: BackendDependencies, name: BackendName) {
  return async function reconcileRows({ dryRun }: { backend: BackendName; dryRun: boolean }): Promise<ReconcileStep> {
    const run = await beginRun(deps, name, dryRun);
    run.collector.at('looking at rows');
    await repairCreating(run);
    await repairDeleting(run);
    await repairPopulating(run);
    await repairCloneCounts(run);
    await repairEntryDeletions(run);
    return run.collector.step();
  };
}
