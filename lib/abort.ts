import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';

/** The most that a timer takes, 24 days: one that is set longer fires at once. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

export interface Deadline {
  ms: number;
  /** The error that is thrown when the time is over. */
  late: Error;
  /** The caller's own abort, thrown as its reason. */
  signal?: AbortSignal;
}

/** Runs `work` with a signal that aborts after `ms` or with the caller's; leaves neither timer nor listener behind. */
export async function withDeadline<T>(
  { ms, late, signal }: Deadline,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const controller = new AbortController();
  const abort = (): void => controller.abort(signal?.reason);
  const timer = setTimeout(() => controller.abort(late), ms);
  signal?.addEventListener('abort', abort, { once: true });
  try {
    return await work(controller.signal);
  } catch (error) {
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}

/** Waits for `value`, which goes on by itself. @throws the signal's reason as soon as it is aborted. */
export async function unlessAborted<Value>(value: Promise<Value>, signal: AbortSignal): Promise<Value> {
  let leave = (): void => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    leave = () => reject(abortReason(signal));
  });
  aborted.catch(() => undefined);
  if (signal.aborted) leave();
  signal.addEventListener('abort', leave, { once: true });
  try {
    return await Promise.race([value, aborted]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}

/** @param durationMs however long. @throws the signal's own reason when it is aborted meanwhile. */
export async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  try {
    for (let leftMs = durationMs; leftMs > 0; leftMs -= LONGEST_TIMER_MS)
      await delay(Math.min(leftMs, LONGEST_TIMER_MS), undefined, { signal });
  } catch {
    signal.throwIfAborted();
  }
}

/** @returns why `signal` was aborted, as an error. */
export function abortReason({ reason }: AbortSignal): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

/**
 * @returns a signal that follows `signal`, for a span of requests: the Temporal client leaves a listener on its signal with each request, and a long wait
 * makes many.
 */
export function followingSignal(signal: AbortSignal): AbortSignal {
  const following = AbortSignal.any([signal]);
  setMaxListeners(0, following);
  return following;
}
