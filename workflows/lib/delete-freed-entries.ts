import { CancellationScope, log } from '@temporalio/workflow';
import type { FreedEntry } from '../contract/population';
import { onBackend } from './activity-profiles';
import { expectFailure } from './fail';
import { inParallel } from './in-parallel';

const DELETES_AT_ONCE = 4;
/**
 * A backend that nobody holds for so long keeps what is retired: a sweep of the evictor, or a reconciliation, deletes
 * it.
 */
const DELETE_BUDGET_MS = 10 * 60_000;

/**
 * Deletes retired entries that nothing holds; one that cannot be deleted stays, retired.
 * @returns how many are gone.
 */
export async function deleteFreedEntries(freed: readonly FreedEntry[]): Promise<number> {
  const entries = [...new Map(freed.map((entry) => [entry.entryId, entry])).values()];
  let deleted = 0;
  await inParallel(entries, DELETES_AT_ONCE, async (entry) => {
    if (await deleteOne(entry)) deleted += 1;
  });
  return deleted;
}

/**
 * Deletes the parent whose last clone or lease has just ended, if there is one, whether the run is cancelled or not.
 * @returns whether it is gone.
 */
export async function deleteFreedEntry({ freedEntry }: { freedEntry?: FreedEntry }): Promise<boolean> {
  return freedEntry !== undefined && (await CancellationScope.nonCancellable(() => deleteOne(freedEntry)));
}

async function deleteOne(freed: FreedEntry): Promise<boolean> {
  const step = { summary: `delete the retired image-volume ${freed.imageVolume}`, budgetMs: DELETE_BUDGET_MS };
  try {
    await onBackend(freed.backend, step).deleteParent(freed);
    return true;
  } catch (error) {
    log.warn('a retired entry stays', { ...freed, failureType: expectFailure(error).type });
    return false;
  }
}
