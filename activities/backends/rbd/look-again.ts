import { Failure } from '../../../workflows/contract/failures';
import { isCephError } from './ceph-error';

export const MOST_LOOKS = 5;

/**
 * Of calls for one object at once each goes on where the others have got it: one that lost a step to another looks again, and so does one that is not
 * done yet.
 * @param isDone @returns whether it is, after `MOST_LOOKS` at most.
 */
export async function lookingAgain(isDone: () => Promise<boolean>): Promise<boolean> {
  for (let looks = 1; looks <= MOST_LOOKS; looks += 1) {
    try {
      if (await isDone()) return true;
    } catch (error) {
      if (looks === MOST_LOOKS || !isLostToAnother(error)) throw error;
    }
  }
  return false;
}

/** Whether an image was taken from under a step, or put there before it. */
function isLostToAnother(error: unknown): boolean {
  return isCephError(error instanceof Failure ? error.cause : error, 'absent', 'exists', 'busy', 'changed');
}
