import { beginEntryDeletion, confirmEntryGone } from '../../db/entries/entries';
import type { BackendName } from '../../workflows/contract/ids';
import type { FreedEntry } from '../../workflows/contract/population';
import type { ControlDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { workflowExecution } from '../kit/workflow-execution';
import { countEvicted } from '../kit/delete-victim';

/** Deletes a retired parent whose last clone is gone. Idempotent. */
export function createDeleteParent(deps: ControlDependencies, backend: BackendName) {
  return async function deleteParent({ entryId, imageVolume }: FreedEntry): Promise<void> {
    const begun = await beginEntryDeletion(deps.database, { entryId });
    // Acquired again or gone already: whoever holds it deletes it later.
    if (begun.kind !== 'deleting') return;
    await backendHeld(deps, backend).ensureImageVolumeAbsent(imageVolume);
    const isGone = await confirmEntryGone(deps.database, { entryId, workflowId: workflowExecution().workflowId });
    if (isGone) countEvicted(deps.metrics, begun.entry);
  };
}
