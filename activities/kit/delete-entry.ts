import { Failure, type FailureType } from '../../workflows/contract/failures';
import type { EntryId } from '../../workflows/contract/ids';
import type { VolumeBackend } from '../backends/backend';
import type { ControlDependencies } from '../dependencies';
import { beginEntryDeletion, confirmEntryGone, keepUndeletable } from '../../db/entries/retirement';
import { type EntryRow } from '../../db/schema';

/** Failures of a backend when an image-volume may not be deleted, however often it is tried. */
const refusals: readonly FailureType[] = ['ParentUnusable', 'ForeignObject'];

/** `held`: clones need it again, and the end of the last deletes it. `kept`: the backend refuses to delete it. */
type EntryDeletion = { kind: 'gone' } | { kind: 'held' } | { kind: 'kept'; refusal: Failure };

/**
 * Deletes a retired entry that nothing holds, or finishes a deletion that was begun. Idempotent.
 * @throws BackendUnavailable (retried).
 */
export async function deleteEntry(
  deps: ControlDependencies,
  backend: VolumeBackend,
  { entryId, workflowId }: { entryId: EntryId; workflowId: string },
): Promise<EntryDeletion> {
  const begun = await beginEntryDeletion(deps.database, { entryId });
  if (begun.kind === 'not-retired' && begun.state === 'gone') return { kind: 'gone' };
  if (begun.kind !== 'deleting') return { kind: 'held' };
  const refusal = await deleteImageVolumeOf(deps, backend, { entry: begun.entry, workflowId });
  if (refusal !== undefined) return { kind: 'kept', refusal };
  const isGone = await confirmEntryGone(deps.database, { entryId, workflowId });
  return { kind: isGone ? 'gone' : 'held' };
}

/**
 * The part of it on the backend, for an entry that is `deleting`; next: `confirmEntryGone`, or `reserveFreed`, which
 * moves its bytes to a reservation. One that the backend refuses to delete goes back to `retired`, outside of the
 * limits, so that it fails no population after this one. Idempotent.
 * @returns the refusal; undefined when the image-volume is absent.
 * @throws BackendUnavailable (retried).
 */
export async function deleteImageVolumeOf(
  { database, metrics }: ControlDependencies,
  backend: VolumeBackend,
  { entry, workflowId }: { entry: EntryRow; workflowId: string },
): Promise<Failure | undefined> {
  try {
    await backend.ensureImageVolumeAbsent(entry.imageVolume);
  } catch (error) {
    if (!(error instanceof Failure) || !refusals.includes(error.type)) throw error;
    await keepUndeletable(database, { entryId: entry.id, found: error.message, workflowId });
    return error;
  }
  const { backend: name, reason, realBytes } = entry;
  metrics.evicted({ backend: name, reason: reason === 'evicted' || reason === null ? 'pressure' : reason }, realBytes);
  return undefined;
}
