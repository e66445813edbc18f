import { activityInfo, cancellationSignal, heartbeat } from '@temporalio/activity';
import {
  listImagesBehindEntries,
  noteImageState,
  retireUnusableEntries,
  type ImageUseState,
  type UnusableEntries,
} from '../../db/entries/entry-images';
import { Failure } from '../../workflows/contract/failures';
import type { EntryId, ImageId } from '../../workflows/contract/ids';
import type { ImageStatus } from '../../workflows/contract/image';
import type { FreedEntry } from '../../workflows/contract/population';
import type { ControlDependencies } from '../dependencies';
import { createPace, REQUESTS_A_SECOND } from './pace';
import type { RefreshScope } from './refresh-request';
import { workflowExecution } from '../kit/runs';

/** Images of one activity: what it answers stays small. */
const PAGE_IMAGES = 100;
/** After so many images in a row without an answer it is asked whether the service answers at all. */
const UNANSWERED_IN_A_ROW = 5;

export interface RefreshPage {
  /** Null before the first image. */
  afterImageId: ImageId | null;
  done: boolean;
  counts: Record<ImageUseState | 'unanswered', number>;
  /** Images that were not found: `settleMissing` judges. Absent in what an earlier version has answered: it has judged itself. */
  missing?: ImageId[];
  retired: EntryId[];
  kept: UnusableEntries['kept'];
  /** Retired, and nothing holds them: their image-volumes may be deleted. */
  free: FreedEntry[];
}

/**
 * Asks the image service about the next images behind entries and retires the entries whose last usable image is deactivated, or gone by its own record.
 * A try that was cut is gone on with where its last heartbeat was. An image that is not answered for, or not found, stays what it was.
 * @throws ImageServiceUnavailable when the service answers for nothing (retried).
 */
export function createRefreshImages(deps: ControlDependencies) {
  return async function refreshImages(request: {
    scope: RefreshScope;
    afterImageId: ImageId | null;
  }): Promise<RefreshPage> {
    const page = findCheckpoint() ?? newPage(request.afterImageId);
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
      const state = await askForImage(deps, imageId);
      unansweredInARow = state === 'unanswered' ? unansweredInARow + 1 : 0;
      if (unansweredInARow === UNANSWERED_IN_A_ROW) {
        await deps.images.listImages({ limit: 1 }, cancellationSignal());
        unansweredInARow = 0;
      }
      if (state === 'missing') page.missing = [...(page.missing ?? []), imageId];
      else {
        if (state !== 'unanswered') await applyImageState(deps, { found: page, imageId, state });
        page.counts[state] += 1;
        deps.metrics.refreshed({ result: state });
      }
      page.afterImageId = imageId;
      // What was not answered is asked again when the try is cut in the middle of it.
      if (unansweredInARow === 0) checkpoint = structuredClone(page);
      heartbeat({ stage: 'waiting', summary: `${asked(page)} images of this page asked for`, page: checkpoint });
    }
    page.done = asked(page) < PAGE_IMAGES;
    return page;
  };
}

function newPage(afterImageId: ImageId | null): RefreshPage {
  const counts = { usable: 0, deactivated: 0, gone: 0, unanswered: 0 };
  return { afterImageId, done: false, counts, missing: [], retired: [], kept: [], free: [] };
}

/** @returns how far the try before has come, as its last heartbeat says. */
function findCheckpoint(): RefreshPage | undefined {
  const details = activityInfo().heartbeatDetails as { page?: RefreshPage } | undefined;
  return details?.page;
}

function asked({ counts, missing = [] }: RefreshPage): number {
  return counts.usable + counts.deactivated + counts.gone + counts.unanswered + missing.length;
}

/** `missing`: the service does not know it, or does not show it; `unanswered`: it says neither, as when it forbids. */
export async function askForImage(
  deps: ControlDependencies,
  imageId: ImageId,
): Promise<ImageUseState | 'unanswered' | 'missing'> {
  try {
    return useOf((await deps.images.getImage(imageId, cancellationSignal())).status);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return error.type === 'ImageNotFound' && !isForbidden(error) ? 'missing' : 'unanswered';
  }
}

function isForbidden({ details }: Failure): boolean {
  return 'forbidden' in details && details.forbidden === true;
}

/** An image whose bytes were read cannot become queued again: whatever says so is not believed. */
function useOf(status: ImageStatus): ImageUseState | 'unanswered' {
  switch (status) {
    case 'active':
      return 'usable';
    case 'deactivated':
      return 'deactivated';
    case 'deleted':
    case 'pending_delete':
    case 'killed':
      return 'gone';
    case 'queued':
    case 'saving':
    case 'uploading':
    case 'importing':
      return 'unanswered';
  }
}

/** Writes down what an image is and retires what has lost its last usable one. Idempotent. */
export async function applyImageState(
  { database }: ControlDependencies,
  { found, imageId, state }: { found: UnusableEntries; imageId: ImageId; state: ImageUseState },
): Promise<void> {
  await noteImageState(database, { imageId, state });
  const { workflowId } = workflowExecution();
  const unusable = await retireUnusableEntries(database, { imageId, workflowId });
  found.retired.push(...unusable.retired);
  found.kept.push(...unusable.kept);
  found.free.push(...unusable.free);
}
