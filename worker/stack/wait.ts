import { setTimeout as sleep } from 'node:timers/promises';

export interface WaitForOptions {
  /** The event, as the end of a sentence: `the database to answer`. */
  what: string;
  deadlineMs: number;
  intervalMs?: number;
  /** Ends the wait early by throwing: `waitFor` throws the same. */
  unless?: () => void;
}

/**
 * Calls `check` until it returns something else than undefined.
 * @throws Error naming what was waited for and the last thing that `check` threw, when the deadline passes, though a call
 * of `check` may not have ended.
 */
export async function waitFor<T>(
  check: () => T | undefined | Promise<T | undefined>,
  options: WaitForOptions,
): Promise<T> {
  const { what, deadlineMs, intervalMs = 50, unless } = options;
  const deadline = performance.now() + deadlineMs;
  let last: unknown;
  do {
    unless?.();
    try {
      const found = await inTime(check(), deadline - performance.now());
      if (found !== undefined) return found;
    } catch (error) {
      last = error;
    }
    await sleep(intervalMs);
  } while (performance.now() < deadline);
  const cause = last instanceof Error ? `: ${last.message}` : '';
  throw new Error(`gave up after ${deadlineMs / 1000} s of waiting for ${what}${cause}`, { cause: last });
}

/** @returns undefined when `work` takes longer. */
async function inTime<T>(work: T | Promise<T>, ms: number): Promise<T | undefined> {
  const ended = new AbortController();
  const late = sleep(ms, undefined, { signal: ended.signal }).catch(() => undefined);
  try {
    return await Promise.race([work, late]);
  } finally {
    ended.abort();
  }
}
