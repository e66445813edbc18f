import { setCurrentDetails, upsertSearchAttributes, workflowInfo } from '@temporalio/workflow';
import type { FailureRecord } from '../contract/failures';
import type { VolumeId } from '../contract/ids';
import { searchAttributes, siblingQueues } from '../contract/names';
import type { Admission, FlightVerdict, Story, Verdict } from '../contract/population';
import type { CreateVolumeResult } from '../contract/volume';
import type { CreateProgress } from '../messages';
import { called } from '../contract/markdown';
import { inTask, waiting } from './activity-profiles';
import { describeWaiting, workflowLink } from './details';
import { findFailure, isBudgetSpent } from './fail';

/** Rounds of acquire and wait: more than one happens only when a parent was lost or evicted in between. */
export const MAX_ROUNDS = 10;
/** Flights that one create waits for: more than its rounds where some have failed for other images with the same bytes. */
export const MAX_FLIGHTS = 100;
/** The budget of admission alone: the create's own is known once it is admitted. */
export const ADMIT_BUDGET_MS = 6 * 3_600_000;

/** A create under way, of one volume or of several. */
export interface RunningCreate {
  /** Those that have no parent yet; the first may lead the flight. */
  volumeIds: readonly [VolumeId, ...VolumeId[]];
  admission: Omit<Admission, 'name'>;
  story: Story;
  progress: CreateProgress;
}

/** Joins the flight of this key and waits for its verdict. @returns undefined when that flight was overtaken: ask the cache again. */
export async function waitForPopulation(
  create: RunningCreate,
  { round, atCloneLimit }: { round: number; atCloneLimit: boolean },
): Promise<Verdict | undefined> {
  const { volumeIds, admission, story, progress } = create;
  const flight = siblingQueues(workflowInfo().taskQueue).ids.populate(admission.backend, admission.cacheKey.short);
  progress.stage = 'waiting';
  progress.flightWorkflowId = flight;
  setCurrentDetails(describeWaiting(admission, workflowLink(flight)));
  tag(admission);
  const waitedFromMs = Date.now();
  const answer = await joinAndWait(create, { flight, activityId: `wait-${round}`, atCloneLimit });
  story.timingsMs.wait = (story.timingsMs.wait ?? 0) + Date.now() - waitedFromMs;
  if (answer === null) return undefined;
  const leader = volumeIds.find((volumeId) => volumeId === answer.leader);
  const leads = leader !== undefined;
  story.outcome = leads ? 'miss' : 'joined';
  story.leader = leader;
  const who = answer.leader === null ? 'the cache' : 'another create';
  story.reason = leads
    ? 'the image was not cached: this create populated the cache'
    : `${who} was populating the cache already`;
  return answer.verdict;
}

/**
 * The rows say who waits before anybody waits, and by an activity id of our own choosing: if anything dies in between, the flight's end reaches the
 * waiting activity, or that activity finds the verdict when it looks.
 */
async function joinAndWait(
  create: RunningCreate,
  { flight, ...join }: { flight: string; activityId: string; atCloneLimit: boolean },
): Promise<FlightVerdict | null> {
  const { volumeIds, admission } = create;
  const [volumeId, ...others] = volumeIds;
  const image = called(admission.imageId, admission.imageName);
  const step = { summary: `join ${flight} for image ${image}`, budgetMs: budgetMs(create) };
  const joined = await inTask(step, (a) => a.joinPopulation({ volumeId, others, admission, ...join }));
  if (joined.kind === 'answered') return joined.answer;
  const waitStep = { summary: `wait for ${flight}, which brings image ${image}`, budgetMs: budgetMs(create) };
  const { safetyIntervalMs } = admission;
  return await waiting(waitStep, { activityId: join.activityId, safetyIntervalMs }).awaitVerdict({
    volumeId,
    others,
    admission,
    flight: joined.flight,
  });
}

/** @returns what `error` says of one of the create's volumes; undefined for an error of workflow code. */
export function failureOf(
  { admission }: Pick<RunningCreate, 'admission'>,
  volumeId: VolumeId,
  error: unknown,
): FailureRecord | undefined {
  const failure = findFailure(error);
  if (!isBudgetSpent(error)) return failure;
  const last = failure?.message ?? String(error);
  const message = `volume ${volumeId} was not created within ${admission.budgetMs / 1000} s; the last failure was: ${last}`;
  return { type: 'BudgetSpent', message, details: { volumeId, budgetMs: admission.budgetMs, last } };
}

/** For the total, which a later step measures by its own clock from here on. */
export function noteElapsed({ admission, story }: Pick<RunningCreate, 'admission' | 'story'>): void {
  story.elapsedMs = Math.max(Date.now() - story.startedAtMs, admission.admitMs);
}

/** The rest of the create's budget: kept by its activities, never by a workflow timeout, which would skip the undo. */
export function budgetMs({ admission, story }: Pick<RunningCreate, 'admission' | 'story'>): number {
  return Math.max(1000, admission.budgetMs - (Date.now() - story.startedAtMs));
}

/** Search attributes, where the namespace has them. A hit upserts once: each upsert is an event and an action. */
export function tag(admission: RunningCreate['admission'], outcome?: CreateVolumeResult['outcome'] | 'failed'): void {
  if (!admission.searchAttributes) return;
  upsertSearchAttributes([
    { key: searchAttributes.backend, value: admission.backend },
    { key: searchAttributes.imageId, value: admission.imageId },
    { key: searchAttributes.cacheKey, value: admission.cacheKey.short },
    ...(outcome === undefined ? [] : [{ key: searchAttributes.outcome, value: outcome }]),
  ]);
}
