import { setTimeout as delay } from 'node:timers/promises';

/** What a refresh asks of the image service at most, whatever it asks for. */
export const REQUESTS_A_SECOND = 20;

/**
 * @returns what waits until the next request may go: so many a second on average, each interval half to one and a half times as long, so that
 * several who ask do not fall into step.
 */
export function createPace({
  requestsPerSecond,
  signal,
}: {
  requestsPerSecond: number;
  signal: AbortSignal;
}): () => Promise<void> {
  const intervalMs = 1000 / requestsPerSecond;
  let nextAtMs = performance.now();
  return async () => {
    const waitMs = nextAtMs - performance.now();
    if (waitMs > 0) await delay(waitMs, undefined, { signal });
    nextAtMs = Math.max(nextAtMs, performance.now()) + intervalMs * (0.5 + Math.random());
  };
}
