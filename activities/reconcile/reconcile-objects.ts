import type { BackendName } from '../../workflows/contract/ids';
import type { ReconcileStep } from '../../workflows/contract/reconcile';
import type { BackendDependencies } from '../dependencies';
import { adoptVolumes, finishVolumes } from './adopt';
import { checkEntries } from './check-entries';
import { checkVolumes, isUnmounted } from './check-volumes';
import { removeOrphans } from './orphans';
import { beginRun } from './run';
import { scanObjects } from './scan';

export interface ObjectsRequest {
  backend: BackendName;
  dryRun: boolean;
  /** Makes rows again for volumes that have none. */
  adopt: boolean;
}

/**
 * Compares everything in the backend's place with the rows, and every row with the place. Heartbeats; repeated, killed or late it looks at everything
 * again, and what is repaired already is in order.
 * @throws BackendUnavailable, DatabaseUnavailable (retried).
 */
export function createReconcileObjects(deps: BackendDependencies, name: BackendName) {
  return async function reconcileObjects({ dryRun, adopt }: ObjectsRequest): Promise<ReconcileStep> {
    const run = await beginRun(deps, name, dryRun);
    run.collector.at("looking at the backend's objects");
    const scan = await scanObjects(run);
    if (await isUnmounted(run, scan)) return run.collector.step();
    await checkVolumes(run);
    await checkEntries(run);
    await finishVolumes(run, scan);
    const withoutRow = await adoptVolumes(run, scan, adopt);
    await removeOrphans(run, { scan, withoutRow });
    return run.collector.step();
  };
}
