import { Failure } from '../../../workflows/contract/failures';
import { isCephError } from './ceph-error';

export const MOST_TRIES = 5;

/**
 * Of calls for one object at once each goes on where the others have got it: one that lost a step to another tries again, and so does one that is not
 * done yet.
 * @param isDone does the rest. @returns whether it is done, after `MOST_TRIES` at most.
 */
export async function untilDone(isDone: () => Promise<boolean>): Promise<boolean> {
  for (let tries = 1; tries <= MOST_TRIES; tries += 1) {
    try {
      if (await isDone()) return true;
    } catch (error) {
      if (tries === MOST_TRIES || !isLostToAnother(error)) throw error;
    }
  }
  return false;
}

/** Whether an image was taken from under a step, or put there before it. */
function isLostToAnother(error: unknown): boolean {
  return isCephError(error instanceof Failure ? error.cause : error, 'absent', 'exists', 'busy', 'changed');
}
