import { log } from '@temporalio/workflow';
import type { BackendName } from '../contract/ids';
import type { FreedEntry } from '../contract/population';
import { onBackend } from './activity-profiles';
import { findFailure, isCancelled } from './failure';
import { inParallel } from './in-parallel';

const DELETES_AT_ONCE = 4;
/** A backend that nobody holds for so long is left alone: the next look, or a sweep of the evictor, deletes what is retired. */
const DELETE_BUDGET_MS = 10 * 60_000;

/** Deletes retired entries that nothing needs, each on its backend; one that cannot be deleted stays, retired. @returns how many are gone. */
export async function deleteFreeEntries(free: readonly (FreedEntry & { backend: BackendName })[]): Promise<number> {
  const entries = [...new Map(free.map((entry) => [entry.entryId, entry])).values()];
  let deleted = 0;
  await inParallel(entries, DELETES_AT_ONCE, async ({ backend, entryId, imageVolume }) => {
    try {
      const step = { summary: `delete the retired image-volume ${imageVolume}`, budgetMs: DELETE_BUDGET_MS };
      await onBackend(backend, step).deleteParent({ entryId, imageVolume });
      deleted += 1;
    } catch (error) {
      if (isCancelled(error) || findFailure(error) === undefined) throw error;
      log.warn('a retired entry stays', { entryId, backend, error: String(error) });
    }
  });
  return deleted;
}
