/**
 * `EvictImageCache`: keeps one backend's cache within its limits, for as long as the installation lives.
 *
 *            +---------------------------------- configure, pause, resume: at once
 *   signal --+-> inbox --> turn: pin, unpin, setLimits, forgetRefusal one by one; all evicts and sweeps that wait in one go --> answer in `status`
 *                            ^                                                             |
 *        periodic sweep ------+                         evict with flatten: clone by clone, beside the turns
 *
 * A failure is an answer, never the end of the loop. A long history goes on as a new run, with everything that has no
 * answer yet.
 */
import {
  condition,
  continueAsNew,
  log,
  sleep,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type {
  EvictImageCacheInput,
  EvictionOrder,
  EvictionResult,
  EvictionStatus,
  EvictSignal,
} from './contract/eviction';
import { targetOf } from './contract/eviction-signals';
import type { BackendName } from './contract/ids';
import { control, evicting } from './lib/activity-profiles';
import { describeEvictor } from './lib/evictor-details';
import { now, openInbox, queueOf, type Inbox, type WaitingSignal } from './lib/evictor-inbox';
import { parseEvictorInput, type EvictorInput } from './lib/evictor-input';
import { failCancelled, findBackendFailure, findFailure, isCancelled, typed } from './lib/fail';
import { flattenClones } from './lib/flatten-clones';
import { createSweepClock, type SweepClock } from './lib/sweep-clock';
import { evictionStatusQuery } from './messages';
import { plural } from './contract/words';

/** Orders of one go: their answers must fit into one payload. */
const ORDERS_AT_ONCE = 200;
/** Limit of a change of a pin or of a limit with its retries, in milliseconds. */
const CHANGE_BUDGET_MS = 60_000;
/** Evictions whose clones are flattened are kept apart: one after the other, so that the backend does not feel it. */
type FlattenJob = { signal: WaitingSignal & { signal: 'evict' }; result: EvictionResult };

interface Evictor extends EvictorInput {
  inbox: Inbox;
  clock: SweepClock;
  doing: 'waiting' | 'sweeping' | 'evicting';
  flattenJobs: FlattenJob[];
  /** Resolves when no job is left, or after a request to stop. */
  flattening?: Promise<void>;
  stopping: boolean;
}

export async function EvictImageCache(given: EvictImageCacheInput): Promise<void> {
  const evictor = openEvictor(parseEvictorInput(given));
  setHandler(evictionStatusQuery, () => statusOf(evictor), {
    description: 'what the evictor does now, and its last 50 answers by request id',
  });
  try {
    await learnInterval(evictor);
    do await turn(evictor);
    while (!isHistoryLong(evictor) || evictor.clock.isDue());
    evictor.stopping = true;
    await evictor.flattening;
    // A cancel that came with the signal which made the history long would stay behind with this run.
    await sleep(1, { summary: 'hear of a cancel before going on as a new run' });
  } catch (error) {
    if (!isCancelled(error)) throw error;
    await evictor.flattening;
    closeInbox(evictor);
    failCancelled(error);
  }
  await continueAsNew<typeof EvictImageCache>(nextInput(evictor));
}

function openEvictor(input: EvictorInput): Evictor {
  const { sweepIntervalMs = null, state } = input;
  const clock = createSweepClock({ intervalMs: sweepIntervalMs, state });
  const inbox = openInbox(state, {
    configure: (settings) => clock.setInterval(settings.sweepIntervalMs),
    pause: (paused) => clock.pause(paused),
  });
  return { ...input, inbox, clock, doing: 'waiting', flattenJobs: [], stopping: false };
}

/**
 * Read once, unless the start of the run has given it. @throws BackendNotFound for a backend that nobody knows (ends the
 * run).
 */
async function learnInterval({ backend, sweepIntervalMs, clock }: Evictor): Promise<void> {
  if (sweepIntervalMs !== undefined) return;
  const step = { summary: 'read the sweep interval from the configuration' };
  const settings = await typed(() => control(step).readEvictorSettings({ backend }));
  if (!clock.isConfigured()) clock.setInterval(settings.sweepIntervalMs);
}

/**
 * Waits for something to do and does it: the change that waits longest, or everything that can be evicted in one go.
 */
async function turn(evictor: Evictor): Promise<void> {
  const { inbox, clock } = evictor;
  describe(evictor);
  await untilDue(evictor);
  const next = inbox.waiting.find(({ begun }) => !begun);
  if (next === undefined && !clock.isDue()) return;
  if (next === undefined || next.signal === 'evict' || next.signal === 'sweep') return await evict(evictor);
  inbox.answer(await change(evictor, next));
  if (next.signal === 'setLimits') clock.sweepSoon();
}

async function untilDue(evictor: Evictor): Promise<void> {
  const { inbox, clock } = evictor;
  const { changes } = clock;
  const somethingCame = (): boolean =>
    inbox.waiting.some(({ begun }) => !begun) || clock.isDue() || clock.changes !== changes || isHistoryLong(evictor);
  const untilSweepMs = clock.untilDueMs();
  if (untilSweepMs === undefined) await condition(somethingCame);
  else if (untilSweepMs > 0)
    await condition(somethingCame, untilSweepMs, { summary: `until the next sweep of ${evictor.backend}` });
}

/** One call for all evicts and sweeps that wait up to the next change, and for the periodic sweep when it is due. */
async function evict(evictor: Evictor): Promise<void> {
  const { backend, inbox, clock } = evictor;
  const batch = takeBatch(inbox);
  const periodic = clock.isDue() ? clock.begin() : undefined;
  const orders = [...batch.map(orderOf), ...(periodic ? [periodic] : [])];
  if (orders.length === 0) return;
  evictor.doing = batch.some(({ signal }) => signal === 'evict') ? 'evicting' : 'sweeping';
  describe(evictor);
  const answers = await answersTo(backend, orders);
  evictor.doing = 'waiting';
  for (const signal of batch) settle(evictor, signal, answerFor(signal, answers));
  if (periodic === undefined) return;
  const swept = answerFor({ ...periodic, signal: 'sweep' }, answers);
  clock.end({ failed: swept.outcome === 'failed' });
  // A sweep that finds nothing to do is no news; it would push out what somebody waits for.
  if (swept.outcome !== 'nothing-to-do') inbox.answer(swept);
}

/** @returns what the activity answered, or for each order that it failed; throws only for a cancel. */
async function answersTo(backend: BackendName, orders: EvictionOrder[]): Promise<EvictionResult[]> {
  try {
    return await evicting(backend, { summary: summaryOf(orders) }).evictEntries({ orders });
  } catch (error) {
    const failure = findBackendFailure(backend, error);
    if (failure === undefined) throw error;
    log.warn('an eviction failed; the next sweep finishes it', { failureType: failure.type });
    return orders.map(({ requestId, signal }) => ({
      requestId,
      signal,
      at: now(),
      outcome: 'failed',
      summary: `${failure.message}; the next sweep finishes it`,
    }));
  }
}

type EvictionSignal = WaitingSignal & { signal: 'evict' | 'sweep' };

function takeBatch({ waiting }: Inbox): EvictionSignal[] {
  const open = waiting.filter(({ begun }) => !begun);
  const end = open.findIndex(({ signal }) => signal !== 'evict' && signal !== 'sweep');
  return open.slice(0, Math.min(end < 0 ? open.length : end, ORDERS_AT_ONCE)) as EvictionSignal[];
}

function orderOf({ requestId, ...waiting }: EvictionSignal): EvictionOrder {
  const { reason, dryRun = false } = waiting.given;
  const asked = waiting.signal === 'evict' ? askedBy(waiting.given) : {};
  return { requestId, signal: waiting.signal, ...asked, ...(reason !== undefined && { reason }), dryRun };
}

function askedBy(given: EvictSignal): Pick<EvictionOrder, 'target' | 'by'> {
  return { target: targetOf(given), ...(given.by !== undefined && { by: given.by }) };
}

function answerFor(
  { requestId, signal }: Pick<EvictionSignal, 'requestId' | 'signal'>,
  answers: EvictionResult[],
): EvictionResult {
  const answer = answers.find((candidate) => candidate.requestId === requestId);
  return (
    answer ?? { requestId, signal, at: now(), outcome: 'failed', summary: 'the backend gave no answer to this request' }
  );
}

/** Answers, unless clones are to be flattened first. */
function settle(evictor: Evictor, signal: EvictionSignal, result: EvictionResult): void {
  const flattens = signal.signal === 'evict' && signal.given.flatten === true && signal.given.dryRun !== true;
  if (!flattens || (result.held ?? []).length === 0) return evictor.inbox.answer(result);
  signal.begun = true;
  evictor.flattenJobs.push({ signal, result });
  evictor.flattening ??= flattenAll(evictor);
}

/** Job by job; one that is stopped keeps its signal waiting, and the next run begins it again. */
async function flattenAll(evictor: Evictor): Promise<void> {
  const { backend, inbox, flattenJobs } = evictor;
  const options = { isStopped: () => evictor.stopping, onProgress: () => describe(evictor) };
  for (let job = flattenJobs.shift(); job !== undefined; job = flattenJobs.shift()) {
    try {
      const flattened = await flattenClones(backend, job.result, options);
      if (flattened === undefined) break;
      inbox.answer(flattened);
    } catch (error) {
      if (isCancelled(error)) break;
      const failure = findBackendFailure(backend, error);
      if (failure === undefined) throw error;
      inbox.answer({ ...job.result, at: now(), outcome: 'failed', summary: failure.message });
    }
  }
  evictor.flattening = undefined;
  describe(evictor);
}

type ChangeSignal = Extract<WaitingSignal, { signal: 'pin' | 'unpin' | 'setLimits' | 'forgetRefusal' }>;

async function change(evictor: Evictor, waiting: WaitingSignal): Promise<EvictionResult> {
  const { requestId, signal } = waiting;
  try {
    const changed = await apply(evictor, waiting as ChangeSignal);
    return { requestId, signal, at: now(), ...changed };
  } catch (error) {
    const failure = findFailure(error);
    if (failure === undefined) throw error;
    const outcome = ['InvalidRequest', 'BackendNotFound'].includes(failure.type) ? 'refused' : 'failed';
    return { requestId, signal, at: now(), outcome, summary: failure.message };
  }
}

async function apply({ backend }: Evictor, waiting: ChangeSignal) {
  const step = { summary: `${waiting.signal}, as requested`, budgetMs: CHANGE_BUDGET_MS };
  const { by } = waiting.given;
  const { requestId } = waiting;
  if (waiting.signal === 'setLimits') {
    const limits = { backend, by, requestId, limits: waiting.given.limits };
    return await control(step).applyLimits(limits);
  }
  if (waiting.signal === 'forgetRefusal')
    return await control(step).applyForgetRefusal({ backend, by, requestId, cacheKey: waiting.given.cacheKey });
  const pin = { backend, by, requestId, target: targetOf(waiting.given), pinned: waiting.signal === 'pin' };
  return await control(step).applyPin(pin);
}

function summaryOf(orders: EvictionOrder[]): string {
  const sweeps = orders.filter(({ signal }) => signal === 'sweep').length;
  const evictions = orders.length - sweeps;
  const parts = [
    ...(evictions === 0 ? [] : [plural(evictions, 'request to evict', 'requests to evict')]),
    ...(sweeps === 0 ? [] : ['sweep: limits, watermarks, idle age, generations']),
  ];
  return parts.join('; ');
}

function isHistoryLong({ maxHistoryEvents }: Evictor): boolean {
  const { historyLength, continueAsNewSuggested } = workflowInfo();
  return continueAsNewSuggested || historyLength >= maxHistoryEvents;
}

/** A request that waits when the run is cancelled gets an answer that says so. */
function closeInbox({ inbox }: Evictor): void {
  const summary = 'the evictor was cancelled before this request';
  for (let next = inbox.waiting[0]; next !== undefined; next = inbox.waiting[0])
    inbox.answer({ requestId: next.requestId, signal: next.signal, at: now(), outcome: 'failed', summary });
}

function nextInput({ backend, maxHistoryEvents, inbox, clock }: Evictor): EvictImageCacheInput {
  const { intervalMs, paused, lastSweepAt, sweeps } = clock.state();
  return {
    backend,
    sweepIntervalMs: intervalMs,
    maxHistoryEvents,
    state: { paused, lastSweepAt, sweeps, results: inbox.results, queue: queueOf(inbox) },
  };
}

function statusOf({ backend, inbox, clock, doing, flattening }: Evictor): EvictionStatus {
  const { intervalMs, paused, lastSweepAt, nextSweepAt, sweeps } = clock.state();
  const idle = flattening === undefined ? (paused ? 'paused' : 'waiting') : 'flattening';
  return {
    backend,
    paused,
    doing: doing === 'waiting' ? idle : doing,
    sweepIntervalMs: intervalMs,
    lastSweepAt,
    nextSweepAt,
    sweeps,
    results: inbox.results,
    waiting: inbox.waiting.length,
    waitingFor: inbox.waiting.slice(0, 100).map(({ requestId }) => requestId),
  };
}

function describe(evictor: Evictor): void {
  setCurrentDetails(describeEvictor(statusOf(evictor)));
}
