import { cancellationSignal, heartbeat } from '@temporalio/activity';
import { listImagesBehindEntries } from '../../db/entries/entry-images';
import type { ImageId } from '../../workflows/contract/ids';
import type { ControlDependencies } from '../dependencies';
import { lastHeartbeat } from '../kit/heartbeat-reporter';
import {
  applyImageState,
  createPace,
  noneRefreshed,
  readImageState,
  REQUESTS_A_SECOND,
  type RefreshedImages,
} from './image-states';
import type { RefreshScope } from './refresh-request';

/** Images of one activity: its answer stays small. */
const PAGE_IMAGES = 100;
/** After so many images in a row without an answer the service must answer for its list, or the activity fails. */
const UNANSWERED_IN_A_ROW = 5;

export interface RefreshPage extends RefreshedImages {
  /** Null before the first image. */
  afterImageId: ImageId | null;
  done: boolean;
  /**
   * Images that were not found: `retireMissing` decides about them. Absent in what an earlier version has answered: it
   * has decided itself.
   */
  missing?: ImageId[];
}

/**
 * Asks the image service about the next images behind entries and retires the entries whose last usable image is
 * deactivated, or gone by its own record. A try that was cut is gone on with where its last heartbeat was. An image
 * that is not answered for, or not found, stays what it was.
 * @throws ImageServiceUnavailable when the service answers for nothing (retried).
 */
export function createRefreshImages(deps: ControlDependencies) {
  return async function refreshImages(request: {
    scope: RefreshScope;
    afterImageId: ImageId | null;
  }): Promise<RefreshPage> {
    const { afterImageId } = request;
    const nothing: RefreshPage = { ...noneRefreshed(), afterImageId, done: false, missing: [] };
    const { page = nothing } = lastHeartbeat<{ page: RefreshPage }>();
    const imageIds = await listImagesBehindEntries(deps.database, {
      ...request.scope,
      afterImageId: page.afterImageId,
      limit: PAGE_IMAGES - asked(page),
    });
    const nextTurn = createPace({ requestsPerSecond: REQUESTS_A_SECOND, signal: cancellationSignal() });
    let checkpoint = page;
    let unansweredInARow = 0;
    for (const imageId of imageIds) {
      await nextTurn();
      const state = await readImageState(deps, imageId);
      unansweredInARow = state === 'unanswered' ? unansweredInARow + 1 : 0;
      if (unansweredInARow === UNANSWERED_IN_A_ROW) {
        await deps.images.listImages({ limit: 1 }, cancellationSignal());
        unansweredInARow = 0;
      }
      if (state === 'missing') page.missing = [...(page.missing ?? []), imageId];
      else await applyImageState(deps, page, { imageId, state });
      page.afterImageId = imageId;
      // Images without an answer are requested again when the try is cut in the middle of them.
      if (unansweredInARow === 0) checkpoint = structuredClone(page);
      heartbeat({ stage: 'waiting', summary: `${asked(page)} images of this page checked`, page: checkpoint });
    }
    page.done = asked(page) < PAGE_IMAGES;
    return page;
  };
}

function asked({ counts, missing = [] }: RefreshPage): number {
  return counts.usable + counts.deactivated + counts.gone + counts.unanswered + missing.length;
}
