import { uuid4 } from '@temporalio/workflow';
import type { Warming } from '../../activities/warm/warm-image';
import { failureOfImage } from '../contract/failures';
import type { BackendName, EntryId, ImageId } from '../contract/ids';
import type { BypassReason } from '../contract/volume';
import { bypassReasons } from './details';
import type { CacheSeed, Verdict } from '../contract/population';
import type { WarmOutcome } from '../contract/refresh';
import { formatBytes } from '../contract/bytes';
import { control, heartbeating, waiting } from './activity-profiles';
import { expectFailure, fail, failWith, findFailureFor, isBudgetSpent, typed } from './fail';

/**
 * Rounds of look and wait: more than one after the first happens only when an entry was evicted or a flight overtaken
 * in between.
 */
const MAX_ROUNDS = 6;
const HOUR_MS = 3_600_000;
/** The budget of a population and of the wait for it. */
const WARM_BUDGET_MS = 6 * HOUR_MS;

export interface WarmTarget {
  imageId: ImageId;
  backend: BackendName;
  /** Has the image's bytes already. */
  seed?: CacheSeed;
}

export type Warmed = Pick<WarmOutcome, 'outcome' | 'entryId' | 'bytesDownloaded' | 'summary'>;

/**
 * Makes the image cached: by the ready entry that is there, or by the one that the key's flight makes, which creates
 * join as they join each other's. A failure is an outcome. @param onFlight hears of the population that is waited for.
 */
export async function ensureCached(target: WarmTarget, onFlight?: (flightWorkflowId: string) => void): Promise<Warmed> {
  try {
    const cached = await warm(target, onFlight);
    switch (cached.kind) {
      case 'ready':
        return ready(cached.entryId, cached.populated);
      case 'refused':
        return refused(cached.verdict, target.imageId);
      case 'evicted':
        return without('failed', describeEvicted);
    }
  } catch (error) {
    const { message } = expectFailure(error);
    return without('failed', isBudgetSpent(error) ? `not done within ${WARM_BUDGET_MS / HOUR_MS} h` : message);
  }
}

/**
 * As `ensureCached`, for a run that goes on with the entry, or without one where the image is not cached on this backend. @throws the typed failure of the
 * image or of its population; BackendUnavailable where it is evicted again and again.
 */
export async function findCached(
  target: WarmTarget,
): Promise<{ kind: 'ready'; entryId: EntryId; populated?: Populated } | { kind: 'bypass'; reason: BypassReason }> {
  const cached = await typed(() => warm(target));
  if (cached.kind === 'ready') return cached;
  const { imageId, backend } = target;
  if (cached.kind === 'evicted') return fail('BackendUnavailable', { backend, cause: describeEvicted });
  const { verdict } = cached;
  if (verdict.kind === 'failed') return failWith(failureOfImage(verdict.failure, imageId));
  if (verdict.kind === 'bypass') return { kind: 'bypass', reason: verdict.reason };
  return fail('BackendUnavailable', { backend, cause: describeEvicted });
}

type Populated = Extract<Verdict, { kind: 'ready' }>;

type Cached =
  | { kind: 'ready'; entryId: EntryId; populated?: Populated }
  | { kind: 'refused'; verdict: Verdict }
  | { kind: 'evicted' };

const describeEvicted = `it was evicted ${MAX_ROUNDS} times as soon as it was populated`;

async function warm({ imageId, backend, seed }: WarmTarget, onFlight?: (id: string) => void): Promise<Cached> {
  let populated: Populated | undefined;
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const look = { summary: `find a ready entry of image ${imageId} on ${backend}, or open its flight` };
    // One run waits for many flights at a time: each waiting activity has a name of its own.
    const activityId = `wait-${uuid4()}`;
    const start = await control({ ...look, budgetMs: WARM_BUDGET_MS }).openWarming({
      imageId,
      backend,
      activityId,
      ...(seed && { seed }),
    });
    if (start.kind === 'ready') return { kind: 'ready', entryId: start.entryId, populated };
    if (start.kind === 'answered') return { kind: 'refused', verdict: start.verdict };
    onFlight?.(start.flightWorkflowId);
    const verdict = await awaitVerdict(start, activityId);
    // The image is noted at the new entry too.
    if (verdict?.kind === 'ready') populated = verdict;
    else if (verdict?.kind === 'bypass' || (verdict?.kind === 'failed' && findFailureFor(imageId, verdict)))
      return { kind: 'refused', verdict };
  }
  return { kind: 'evicted' };
}

/** As a create waits: completed from outside, so that waiters hold no slot that their flight needs. */
async function awaitVerdict(start: Extract<Warming, { kind: 'flying' }>, activityId: string): Promise<Verdict | null> {
  const { source, flight, flightWorkflowId, safetyIntervalMs } = start;
  const step = { summary: `wait for ${flightWorkflowId}`, budgetMs: WARM_BUDGET_MS };
  // An older version has opened the flight, and has not written down who waits.
  if (safetyIntervalMs === undefined) return await heartbeating(step).awaitWarming(start);
  const wait = { admission: source, flight };
  return (await waiting(step, { activityId, safetyIntervalMs }).awaitVerdict(wait))?.verdict ?? null;
}

function ready(entryId: EntryId, populated: Populated | undefined): Warmed {
  if (populated === undefined || populated.timingsMs.download === undefined)
    return { outcome: 'ready', entryId, bytesDownloaded: 0, summary: 'it was cached already' };
  const { bytesDownloaded, transfer } = populated;
  const how = transfer === undefined ? '' : `; ${transfer}`;
  return {
    outcome: 'populated',
    entryId,
    bytesDownloaded,
    summary: `${formatBytes(bytesDownloaded)} downloaded${how}`,
  };
}

function refused(verdict: Verdict, imageId: ImageId): Warmed {
  if (verdict.kind === 'bypass') return without('not-cached', bypassReasons[verdict.reason]);
  if (verdict.kind === 'ready') return without('failed', 'it was evicted meanwhile');
  return without('failed', failureOfImage(verdict.failure, imageId).message);
}

function without(outcome: 'failed' | 'not-cached', summary: string): Warmed {
  return { outcome, entryId: null, bytesDownloaded: 0, summary };
}
