import { activityInfo, heartbeat } from '@temporalio/activity';
import { ActivityNotFoundError } from '@temporalio/client';
import {
  answerFlight,
  updateFlightRun,
  findFlight,
  forgetWaiters,
  waitersOf,
  type WaitingActivity,
} from '../../db/flights';
import { unlessThrown } from '../../lib/unless-thrown';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, VolumeId } from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import type { FlightVerdict, PopulateInput, Verdict } from '../../workflows/contract/population';
import type { ControlDependencies } from '../dependencies';
import { findLiveRun, workflowExecution } from '../kit/runs';
import { parsePopulateInput } from './populate-request';

/** Waiters that are read, and answered, at once. */
const ANSWERS_AT_ONCE = 32;

export interface FlightClaim {
  /** The run's input, validated. */
  input: PopulateInput;
  flight: number;
  /** Null: no create opened it. */
  leaderVolumeId: VolumeId | null;
  /** Set when this flight has its verdict already: only its waiters are left to answer. */
  answered?: Verdict;
  searchAttributes: boolean;
  /** Milliseconds that one conversion may take; absent where an older version claimed the flight. */
  conversionMs?: number;
}

/**
 * Claims the number that the flight's row has now for this run. Idempotent.
 * @throws InvalidRequest for a malformed input, and when no create has joined (final).
 */
export function createClaimFlight(deps: ControlDependencies) {
  return async function claimFlight(given: unknown): Promise<FlightClaim> {
    const input = parsePopulateInput(given);
    const { backend, cacheKey } = input;
    const { workflowId, runId } = workflowExecution();
    const expected = deps.queues.ids.populate(backend, cacheKey.short);
    // Under another id a second population of one key would run beside the first.
    if (workflowId !== expected)
      throw new Failure('InvalidRequest', { field: 'workflowId', value: workflowId, allowed: expected });
    const claim = await updateFlightRun(deps.database, { backend, shortKey: cacheKey.short, runId });
    const allowed = 'a key that a create waits for';
    if (claim === undefined) throw new Failure('InvalidRequest', { field: 'cacheKey', value: cacheKey.short, allowed });
    const { searchAttributes, config } = deps;
    return { input, ...claim, searchAttributes, conversionMs: config.tools.wallClock };
  };
}

export interface AnswerRequest {
  backend: BackendName;
  cacheKey: CacheKey;
  flight: number;
  leader: VolumeId | null;
  verdict: Verdict;
}

/**
 * Writes the verdict, and only that, in its transaction; then completes the activity of every waiter of this flight's
 * number. Idempotent: a waiter that was answered before is not found, and that is success. Nobody can join a flight
 * that is answered, so one pass over the rows is all.
 */
export function createAnswerWaiters(deps: ControlDependencies) {
  return async function answerWaiters(request: AnswerRequest): Promise<{ waitersAnswered: number }> {
    const { backend, cacheKey, flight, leader, verdict } = request;
    const { runId } = workflowExecution();
    const shortKey = cacheKey.short;
    const write = () => answerFlight(deps.database, { backend, shortKey, flight, runId, verdict });
    const isOurs = (await write()) || ((await goOnAfterReset(deps, { backend, shortKey })) && (await write()));
    // Another run has taken the flight over, as after a terminate: its waiters get that run's verdict.
    if (!isOurs) return { waitersAnswered: 0 };
    deps.metrics.populated({ backend, verdict: verdict.kind });
    // The volumes of one run wait with one activity.
    const answered = new Set<string>();
    const ofFlight = { backend, shortKey: cacheKey.short, flight };
    for (let afterId: string | undefined; ;) {
      const waiters = await waitersOf(deps.database, { ...ofFlight, limit: ANSWERS_AT_ONCE, afterId });
      const waiting = new Map(waiters.map((waiter) => [`${waiter.runId}/${waiter.activityId}`, waiter]));
      const next = [...waiting].filter(([activity]) => !answered.has(activity));
      await Promise.all(next.map(([, waiter]) => answer(deps, waiter, { verdict, leader })));
      for (const [activity] of next) answered.add(activity);
      const summary = `${answered.size} waiters answered, attempt ${activityInfo().attempt}`;
      heartbeat({ stage: 'answering', summary });
      if (waiters.length < ANSWERS_AT_ONCE) break;
      afterId = waiters.at(-1)?.id;
    }
    await forgetWaiters(deps.database, ofFlight);
    return { waitersAnswered: answered.size };
  };
}

/**
 * Claims the flight of an earlier run of this workflow, with which this one goes on after a reset.
 * @returns whether the flight has become this run's by this call.
 */
async function goOnAfterReset(
  deps: ControlDependencies,
  { backend, shortKey }: { backend: BackendName; shortKey: string },
): Promise<boolean> {
  const { workflowId, runId } = workflowExecution();
  const row = await findFlight(deps.database, { backend, shortKey });
  if (!row?.runId || row.answered || row.runId === runId) return false;
  if ((await findLiveRun(deps, { workflowId, runId: row.runId })) !== runId) return false;
  await updateFlightRun(deps.database, { backend, shortKey, runId });
  return true;
}

/**
 * Names workflow, run and activity: an activity id is a counter, and without the run a verdict for a dead run would
 * complete its successor.
 */
async function answer(
  { temporal }: ControlDependencies,
  { workflowId, runId, activityId }: WaitingActivity,
  outcome: FlightVerdict,
): Promise<void> {
  await unlessThrown(ActivityNotFoundError, temporal.activity.complete({ workflowId, runId, activityId }, outcome));
}
