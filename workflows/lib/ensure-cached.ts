import { uuid4 } from '@temporalio/workflow';
import type { Warming } from '../../activities/warm/warm-image';
import { failureOfImage } from '../contract/failures';
import type { BackendName, EntryId, ImageId } from '../contract/ids';
import { bypassReasons } from './details';
import type { Verdict } from '../contract/population';
import type { WarmOutcome } from '../contract/refresh';
import { formatBytes } from '../contract/bytes';
import { control, heartbeating, waiting } from './activity-profiles';
import { expectFailure, findFailureFor, isBudgetSpent } from './fail';

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
}

export type Warmed = Pick<WarmOutcome, 'outcome' | 'entryId' | 'bytesDownloaded' | 'summary'>;

/**
 * Makes the image cached: by the ready entry that is there, or by the one that the key's flight makes, which creates
 * join as they join each other's. A failure is an outcome. @param onFlight hears of the population that is waited for.
 */
export async function ensureCached(target: WarmTarget, onFlight?: (flightWorkflowId: string) => void): Promise<Warmed> {
  try {
    return await warm(target, onFlight);
  } catch (error) {
    const { message } = expectFailure(error);
    return without('failed', isBudgetSpent(error) ? `not done within ${WARM_BUDGET_MS / HOUR_MS} h` : message);
  }
}

async function warm({ imageId, backend }: WarmTarget, onFlight?: (id: string) => void): Promise<Warmed> {
  let populated: Extract<Verdict, { kind: 'ready' }> | undefined;
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const look = { summary: `find a ready entry of image ${imageId} on ${backend}, or open its flight` };
    // One run waits for many flights at a time: each waiting activity has a name of its own.
    const activityId = `wait-${uuid4()}`;
    const start = await control({ ...look, budgetMs: WARM_BUDGET_MS }).openWarming({ imageId, backend, activityId });
    if (start.kind === 'ready') return ready(start.entryId, populated);
    if (start.kind === 'answered') return refused(start.verdict, imageId);
    onFlight?.(start.flightWorkflowId);
    const verdict = await awaitVerdict(start, activityId);
    // The image is noted at the new entry too.
    if (verdict?.kind === 'ready') populated = verdict;
    else if (verdict?.kind === 'bypass' || (verdict?.kind === 'failed' && findFailureFor(imageId, verdict)))
      return refused(verdict, imageId);
  }
  return without('failed', `it was evicted ${MAX_ROUNDS} times as soon as it was populated`);
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

function ready(entryId: EntryId, populated: Extract<Verdict, { kind: 'ready' }> | undefined): Warmed {
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
