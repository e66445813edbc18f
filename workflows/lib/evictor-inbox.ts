import { defineSignal, setDefaultSignalHandler, setHandler, uuid4 } from '@temporalio/workflow';
import {
  evictorSignalNames,
  type ConfigureSignal,
  type EvictionResult,
  type EvictorSignalName,
  type EvictorState,
  type PlainSignal,
} from '../contract/eviction';
import { boundOldest, boundResult } from '../contract/bounded-results';
import { jsonBytes, KiB, MiB } from '../contract/bytes';
import { findRequestId, parseEvictorSignal, type EvictorSignal } from '../contract/eviction-signals';
import { quote } from '../contract/words';

/** Answers that are kept. */
const RESULTS_KEPT = 50;
/** Of those, the newest whose plans are kept: a plan is long, and all answers must fit into one payload. */
const PLANS_KEPT = 5;
/** JSON of one answer, and of all that are kept. */
const RESULT_BYTES = 256 * KiB;
const RESULTS_BYTES = MiB;
/** Signals that may wait, and their JSON: with the answers, they are the input of the next run. */
const MAX_WAITING = 1000;
const WAITING_BYTES = 512 * KiB;

/** A signal that has passed and has no answer yet. */
export type WaitingSignal = Exclude<EvictorSignal, { signal: 'configure' }> & {
  requestId: string;
  /** Its answer comes later: its clones are being flattened. */
  begun: boolean;
};

export interface Inbox {
  /** In the order in which they came. */
  readonly waiting: WaitingSignal[];
  /** The newest last. */
  readonly results: EvictionResult[];
  /** Takes the signal from those that wait. A request is answered once. */
  answer(result: EvictionResult): void;
}

export interface InboxHandlers {
  /** At once, whatever the evictor is doing. */
  configure(given: ConfigureSignal): void;
  pause(paused: boolean): void;
}

/**
 * Takes every signal of the evictor: handlers only look and put aside, so none can hold the workflow. Register before
 * anything is waited for.
 */
export function openInbox(state: Pick<EvictorState, 'results' | 'queue'> | undefined, handlers: InboxHandlers): Inbox {
  const waiting: WaitingSignal[] = [];
  const results: EvictionResult[] = [...(state?.results ?? [])];
  const bytesOf = rememberingBytes();
  let waitingBytes = 0;
  const answer = (result: EvictionResult): void => {
    const at = waiting.findIndex(({ requestId }) => requestId === result.requestId);
    for (const { given } of at >= 0 ? waiting.splice(at, 1) : []) waitingBytes -= bytesOf(given);
    results.push(boundResult(result, RESULT_BYTES));
    const kept = results.slice(-RESULTS_KEPT);
    const bounded = kept.map((old, index) => (index < kept.length - PLANS_KEPT ? withoutPlan(old) : old));
    results.splice(0, results.length, ...boundOldest(bounded, RESULTS_BYTES, bytesOf));
  };
  const isKnown = (requestId: string): boolean =>
    [...waiting, ...results].some((known) => known.requestId === requestId);
  const refuse = (signal: EvictionResult['signal'], requestId: string, summary: string): void => {
    if (!isKnown(requestId)) answer({ requestId, signal, at: now(), outcome: 'refused', summary });
  };

  const receive = (signal: EvictorSignalName, args: readonly unknown[]): void => {
    const parsed = parseEvictorSignal(signal, args);
    if (parsed.kind === 'refused') return refuse(signal, parsed.requestId ?? uuid4(), parsed.why);
    const { value } = parsed;
    if (value.signal === 'configure') return handlers.configure(value.given);
    const requestId = value.given.requestId ?? uuid4();
    if (isKnown(requestId)) return;
    if (value.signal === 'pause' || value.signal === 'resume') {
      handlers.pause(value.signal === 'pause');
      return answer(answerToPause(value.signal, { ...value.given, requestId }));
    }
    if (waiting.length >= MAX_WAITING || waitingBytes + bytesOf(value.given) > WAITING_BYTES)
      return refuse(signal, requestId, `${waiting.length} signals wait already; send it again later`);
    waiting.push({ ...value, requestId, begun: false });
    waitingBytes += bytesOf(value.given);
  };

  for (const { signal, given } of state?.queue ?? []) receive(signal, [given]);
  for (const name of evictorSignalNames)
    setHandler(defineSignal<unknown[]>(name), (...args) => receive(name, args), { description: descriptions[name] });
  setDefaultSignalHandler((name, ...args) =>
    refuse(
      'unknown',
      findRequestId(args) ?? uuid4(),
      `signal: got ${quote(name)}, allowed is one of ${evictorSignalNames.join(', ')}`,
    ),
  );
  return { waiting, results, answer };
}

/** @returns the signals that wait, as the next run gets them. */
export function queueOf({ waiting }: Inbox): EvictorState['queue'] {
  return waiting.map(({ signal, requestId, given }) => ({ signal, requestId, given: { ...given, requestId } }));
}

export function now(): string {
  return new Date().toISOString();
}

const descriptions: Record<EvictorSignalName, string> = {
  evict: '{entryId | imageId | cacheKey | bytes | count, reason?, by?, flatten?, dryRun?, requestId?}',
  sweep: '{reason?, dryRun?, requestId?}: limits, watermarks, idle age, generations',
  pin: '{entryId | imageId | cacheKey, by?, requestId?}: never a victim',
  unpin: '{entryId | imageId | cacheKey, by?, requestId?}',
  setLimits: '{limits: {maxBytes, maxCount, …}, by?, requestId?}',
  forgetRefusal: '{cacheKey, by?, requestId?}: refused bytes are tried again',
  pause: '{reason?, requestId?}: no periodic sweeps; requests are still carried out',
  resume: '{reason?, requestId?}',
  configure: '{sweepIntervalMs}: sent by a worker when it starts',
};

function answerToPause(
  signal: 'pause' | 'resume',
  { requestId, reason }: PlainSignal & { requestId: string },
): EvictionResult {
  const why = reason === undefined ? '' : `: ${reason}`;
  const summary =
    signal === 'pause'
      ? `periodic sweeps are paused${why}; requests are still carried out`
      : `periodic sweeps run again${why}`;
  return { requestId, signal, at: now(), outcome: 'done', summary };
}

function withoutPlan(result: EvictionResult): EvictionResult {
  if (result.plan === undefined) return result;
  const { plan: _, ...rest } = result;
  return rest;
}

/** Each object is measured once: hundreds of answers may come in one turn. */
function rememberingBytes(): (value: object) => number {
  const known = new WeakMap<object, number>();
  return (value) => {
    const bytes = known.get(value) ?? jsonBytes(value);
    known.set(value, bytes);
    return bytes;
  };
}
