import { keepUndeletable } from '../../db/entries/entries';
import type { EntryRow } from '../../db/types';
import { Failure, type FailureType } from '../../workflows/contract/failures';
import type { VolumeBackend } from '../backends/backend';
import type { ControlDependencies } from '../dependencies';
import type { CacheMetrics } from '../metrics';

/** What a backend says when an image-volume may not be deleted, whoever asks and how often. */
const refusals: readonly FailureType[] = ['ParentUnusable', 'ForeignObject'];

/**
 * Deletes the image-volume of an entry that is `deleting`; next: `confirmEntryGone` or `reserveFreed`. One that the backend refuses to delete goes back
 * to `retired`, outside of the limits, so that it fails no population after this one. Idempotent.
 * @returns whether it is absent.  @throws BackendUnavailable (retried).
 */
export async function deleteVictim(
  { database, metrics }: ControlDependencies,
  backend: VolumeBackend,
  { victim, workflowId }: { victim: EntryRow; workflowId: string },
): Promise<boolean> {
  try {
    await backend.ensureImageVolumeAbsent(victim.imageVolume);
  } catch (error) {
    if (!(error instanceof Failure) || !refusals.includes(error.type)) throw error;
    await keepUndeletable(database, { entryId: victim.id, found: error.message, workflowId });
    return false;
  }
  countEvicted(metrics, victim);
  return true;
}

/** Counts an entry whose image-volume is gone under the class that it went for. */
export function countEvicted(metrics: CacheMetrics, { backend, reason, realBytes }: EntryRow): void {
  metrics.evicted({ backend, reason: reason === 'evicted' || reason === null ? 'pressure' : reason }, realBytes);
}
