import { cancellationSignal, heartbeat } from '@temporalio/activity';
import { listSeenImages } from '../../db/entries/entry-images';
import { Failure } from '../../workflows/contract/failures';
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

/** Images that the inventory knows, of which one must be there. */
const KNOWN_ASKED = 10;

export interface MissingRequest {
  /** Not found when they were asked for; asked again here. */
  imageIds: ImageId[];
  /**
   * Of the whole run: images that were asked for, those of them that were not found, and those that are not decided
   * yet, these included.
   */
  asked: number;
  missing: number;
  left: number;
  acceptMissing: boolean;
}

export interface RetiredMissing extends RefreshedImages {
  /** Why the absence is not believed; null: it is, and `counts` says what came of each image. */
  doubt: string | null;
}

/**
 * Retires the entries whose last usable image is not found any more, when the image service is proven to be sound: its
 * list answers, an image that the inventory knows is there, and not too many are missing at once. A service behind a
 * wrong endpoint, after a bad restore, or without rights answers "not found" to everything. Registered as
 * `settleMissing`. Idempotent; a try that was cut is gone on with where its last heartbeat was.
 * @throws ImageServiceUnavailable (retried).
 */
export function createRetireMissing(deps: ControlDependencies) {
  return async function retireMissing(request: MissingRequest): Promise<RetiredMissing> {
    const { settled: retired = { doubt: null, ...noneRefreshed() } } = lastHeartbeat<{ settled: RetiredMissing }>();
    const done = Object.values(retired.counts).reduce((sum, count) => sum + count, 0);
    const doubt = request.acceptMissing ? undefined : await findDoubt(deps, request);
    if (doubt !== undefined) {
      for (let n = done; n < request.left; n += 1) deps.metrics.refreshed({ result: 'unbelieved' });
      return { ...retired, doubt };
    }
    const nextTurn = createPace({ requestsPerSecond: REQUESTS_A_SECOND, signal: cancellationSignal() });
    for (const imageId of request.imageIds.slice(done)) {
      await nextTurn();
      const found = await readImageState(deps, imageId);
      await applyImageState(deps, retired, { imageId, state: found === 'missing' ? 'gone' : found });
      heartbeat({ stage: 'waiting', summary: 'checking again the images that were not found', settled: retired });
    }
    return retired;
  };
}

/** @returns why what is missing is not believed to be gone. */
async function findDoubt(
  deps: ControlDependencies,
  { imageIds, asked, missing }: MissingRequest,
): Promise<string | undefined> {
  const { maxMissingCount, maxMissingShare } = deps.config.refresh;
  if (missing > maxMissingCount && missing > maxMissingShare * asked)
    return (
      `${missing} of ${asked} images were not found at once: more than refresh.maxMissingCount, ${maxMissingCount}, ` +
      `and refresh.maxMissingShare, ${Math.round(maxMissingShare * 100)}%`
    );
  try {
    await deps.images.listImages({ limit: 1 }, cancellationSignal());
  } catch (error) {
    if (!(error instanceof Failure) || !error.isFinal) throw error;
    return `${deps.images.endpoint} does not answer for its list of images: is the endpoint right, and the account allowed to read?`;
  }
  const known = await listSeenImages(deps.database, { except: imageIds, limit: KNOWN_ASKED });
  for (const imageId of known) {
    const state = await readImageState(deps, imageId);
    if (state === 'usable' || state === 'deactivated') return undefined;
  }
  return `no other image of the cache is found at ${deps.images.endpoint}: nothing proves that this is the right service, and sound`;
}
