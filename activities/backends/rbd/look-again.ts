import { Failure } from '../../../workflows/contract/failures';
import { isCephError } from './ceph-error';

export const MOST_LOOKS = 5;

/** Of calls for one object at once each goes on where the others have got it: one that lost a step to another looks again. */
export async function lookingAgain<Result>(look: () => Promise<Result>): Promise<Result> {
  for (let looks = 1; ; looks += 1) {
    try {
      return await look();
    } catch (error) {
      if (looks === MOST_LOOKS || !isLostToAnother(error)) throw error;
    }
  }
}

/** Whether an image was taken from under a step, or put there before it. */
function isLostToAnother(error: unknown): boolean {
  return isCephError(error instanceof Failure ? error.cause : error, 'absent', 'exists', 'busy', 'changed');
}
