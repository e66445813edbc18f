import { setMaxListeners } from 'node:events';

/**
 * @returns a signal that follows `signal`, for a span of requests: the Temporal client leaves a listener on its signal with each request, and a long wait
 * makes many.
 */
export function followingSignal(signal: AbortSignal): AbortSignal {
  const following = AbortSignal.any([signal]);
  setMaxListeners(0, following);
  return following;
}
