import { activityInfo, cancellationSignal, heartbeat } from '@temporalio/activity';
import { listSeenImages, type ImageUseState, type UnusableEntries } from '../../db/entries/entry-images';
import { Failure } from '../../workflows/contract/failures';
import type { ImageId } from '../../workflows/contract/ids';
import type { ControlDependencies } from '../dependencies';
import { createPace, REQUESTS_A_SECOND } from './pace';
import { applyImageState, askForImage } from './refresh-images';

/** Images that the inventory knows, of which one must be there. */
const KNOWN_ASKED = 10;

export interface MissingRequest {
  /** Not found when they were asked for; asked again here. */
  imageIds: ImageId[];
  /** Of the whole run: images that were asked for, those of them that were not found, and those that are not judged yet, these included. */
  asked: number;
  missing: number;
  left: number;
  acceptMissing: boolean;
}

export interface SettledMissing extends UnusableEntries {
  /** Why the absence is not believed; null: it is, and `counts` says what came of each image. */
  doubt: string | null;
  counts: Record<ImageUseState | 'unanswered', number>;
}

/**
 * Retires the entries whose last usable image is not found any more, when the image service is proven to be sound: its list answers, an image that the
 * inventory knows is there, and not too many are missing at once. A service behind a wrong endpoint, after a bad restore, or without rights answers "not
 * found" to everything. Idempotent; a try that was cut is gone on with where its last heartbeat was.
 * @throws ImageServiceUnavailable (retried).
 */
export function createSettleMissing(deps: ControlDependencies) {
  return async function settleMissing(request: MissingRequest): Promise<SettledMissing> {
    const settled = findCheckpoint() ?? newSettled();
    const done = Object.values(settled.counts).reduce((sum, count) => sum + count, 0);
    const doubt = request.acceptMissing ? undefined : await findDoubt(deps, request);
    if (doubt !== undefined) {
      for (let n = done; n < request.left; n += 1) deps.metrics.refreshed({ result: 'unbelieved' });
      return { ...settled, doubt };
    }
    const nextTurn = createPace({ requestsPerSecond: REQUESTS_A_SECOND, signal: cancellationSignal() });
    for (const imageId of request.imageIds.slice(done)) {
      await nextTurn();
      const found = await askForImage(deps, imageId);
      const state = found === 'missing' ? 'gone' : found;
      if (state !== 'unanswered') await applyImageState(deps, { found: settled, imageId, state });
      settled.counts[state] += 1;
      deps.metrics.refreshed({ result: state });
      heartbeat({ stage: 'waiting', summary: 'images that were not found are asked for again', settled });
    }
    return settled;
  };
}

function newSettled(): SettledMissing {
  const counts = { usable: 0, deactivated: 0, gone: 0, unanswered: 0 };
  return { doubt: null, counts, retired: [], kept: [], free: [] };
}

function findCheckpoint(): SettledMissing | undefined {
  const details = activityInfo().heartbeatDetails as { settled?: SettledMissing } | undefined;
  return details?.settled;
}

/** @returns why what is missing is not believed to be gone. */
async function findDoubt(
  deps: ControlDependencies,
  { imageIds, asked, missing }: MissingRequest,
): Promise<string | undefined> {
  const { maxMissingCount, maxMissingShare } = deps.config.refresh;
  if (missing > maxMissingCount && missing > maxMissingShare * asked)
    return (
      `${missing} of ${asked} images are not found at once: more than refresh.maxMissingCount, ${maxMissingCount}, ` +
      `and refresh.maxMissingShare, ${Math.round(maxMissingShare * 100)}%`
    );
  try {
    await deps.images.listImages({ limit: 1 }, cancellationSignal());
  } catch (error) {
    if (!(error instanceof Failure) || error.type === 'ImageServiceUnavailable') throw error;
    return `${deps.images.endpoint} does not answer for its list of images: is the endpoint right, and the account allowed to read?`;
  }
  const known = await listSeenImages(deps.database, { except: imageIds, limit: KNOWN_ASKED });
  for (const imageId of known) {
    const state = await askForImage(deps, imageId);
    if (state === 'usable' || state === 'deactivated') return undefined;
  }
  return `no other image of the cache is found at ${deps.images.endpoint}, so that nothing shows that it is the right service, and sound`;
}
