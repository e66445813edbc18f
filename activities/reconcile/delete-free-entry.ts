import { beginEntryDeletion, confirmEntryGone, findEntry } from '../../db/entries/entries';
import type { EntryId } from '../../workflows/contract/ids';
import { deleteVictim } from '../kit/delete-victim';
import type { Repaired } from './repair';
import type { ReconcileRun } from './run';

/** Deletes a retired entry that nothing holds, or finishes a deletion that was begun. Idempotent. */
export async function deleteFreeEntry(run: ReconcileRun, entryId: EntryId): Promise<Repaired> {
  const { deps, backend, workflowId } = run;
  const begun = await beginEntryDeletion(deps.database, { entryId });
  if (begun.kind !== 'deleting') return 'unfounded';
  if (!(await deleteVictim(deps, backend, { victim: begun.entry, workflowId }))) {
    const kept = await findEntry(deps.database, { entryId });
    return { kept: kept?.reasonDetail ?? 'the backend keeps it' };
  }
  await confirmEntryGone(deps.database, { entryId, workflowId });
  return 'repaired';
}
