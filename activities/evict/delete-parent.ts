import type { BackendName } from '../../workflows/contract/ids';
import type { FreedEntry } from '../../workflows/contract/population';
import type { ControlDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { deleteEntry } from '../kit/delete-entry';
import { workflowExecution } from '../kit/runs';

/** Deletes a retired parent whose last clone is gone. Idempotent. @throws ParentUnusable, ForeignObject: the backend keeps it (final). */
export function createDeleteParent(deps: ControlDependencies, backend: BackendName) {
  return async function deleteParent({ entryId }: Pick<FreedEntry, 'entryId'>): Promise<void> {
    const { workflowId } = workflowExecution();
    const deletion = await deleteEntry(deps, backendHeld(deps, backend), { entryId, workflowId });
    if (deletion.kind === 'kept') throw deletion.refusal;
  };
}
