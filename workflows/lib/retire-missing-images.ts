import { log } from '@temporalio/workflow';
import type { RefreshPage } from '../../activities/refresh/refresh-images';
import type { RetiredMissing } from '../../activities/refresh/missing-images';
import type { ImageId } from '../contract/ids';
import type { RefreshResult } from '../contract/refresh';
import { heartbeating } from './activity-profiles';
import { deleteFreedEntries } from './delete-freed-entries';
import { expectFailure } from './fail';

/** Images of one activity. */
const AT_ONCE = 100;
/** A service that is not proven to be sound for so long is not believed. */
const SETTLE_BUDGET_MS = 30 * 60_000;
/** Ids that the result holds. */
const MAX_TOLD = 1000;

/** Retires the entries whose last image is proven to be gone; from the first doubt on nothing more is retired. */
export async function retireMissingImages(
  result: RefreshResult,
  imageIds: readonly ImageId[],
  acceptMissing: boolean,
): Promise<void> {
  const { imagesAsked: asked } = result;
  const missing = asked - result.usable - result.deactivated - result.gone - result.unanswered;
  for (let done = 0; done < imageIds.length; done += AT_ONCE) {
    const chunk = imageIds.slice(done, done + AT_ONCE);
    const settled = await settleChunk({ imageIds: chunk, asked, missing, left: missing - done, acceptMissing });
    if ('counts' in settled) {
      countImages(result, settled);
      result.deletedEntries += await deleteFreedEntries(settled.free);
    }
    if (settled.doubt === null) continue;
    result.doubt = settled.doubt;
    break;
  }
  const { usable, deactivated, gone, unanswered } = result;
  result.unbelieved = asked - usable - deactivated - gone - unanswered;
}

async function settleChunk(request: {
  imageIds: ImageId[];
  asked: number;
  missing: number;
  left: number;
  acceptMissing: boolean;
}): Promise<RetiredMissing | { doubt: string }> {
  const step = { summary: `check ${request.imageIds.length} images that were not found`, budgetMs: SETTLE_BUDGET_MS };
  try {
    return await heartbeating(step).settleMissing(request);
  } catch (error) {
    const { type: failureType, message } = expectFailure(error);
    log.warn('images that were not found are left to the next run', { failureType });
    return { doubt: message };
  }
}

/** Adds what came of some images to the result. */
export function countImages(
  result: RefreshResult,
  { counts, retired, kept }: Pick<RefreshPage, 'counts' | 'retired' | 'kept'>,
): void {
  result.usable += counts.usable;
  result.deactivated += counts.deactivated;
  result.gone += counts.gone;
  result.unanswered += counts.unanswered;
  result.retiredEntries = [...new Set([...result.retiredEntries, ...retired])].slice(0, MAX_TOLD);
  const known = new Set(result.keptEntries.map(({ entryId }) => entryId));
  const more = kept.filter(({ entryId }) => !known.has(entryId) && known.add(entryId));
  result.keptEntries = [...result.keptEntries, ...more].slice(0, MAX_TOLD);
}
