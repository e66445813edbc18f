import { ImageVolumeCacheError } from '../client/errors';

/** A client waits for an answer of 202 no longer than this. */
const PATIENCE_MS = 3000;

/** Waits for work that most often takes some milliseconds, so that its refusals are told at once. Longer work goes on without the client. */
export async function orGoesOn(work: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  try {
    await work(AbortSignal.timeout(PATIENCE_MS));
  } catch (error) {
    if (!(error instanceof ImageVolumeCacheError && error.type === 'WaitInterrupted')) throw error;
  }
}
