import { Context } from '@temporalio/activity';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { Failure } from '../../workflows/contract/failures';
import { readOwnFailures } from '../kit/heartbeat-reporter';

/**
 * An activity whose own failures are final from the `tries`th on: a tool that fails so often will fail again, and so will a bug. Workers that are lost,
 * and services that are away, are not counted: they are no word about the image. The count is in the heartbeat details, which outlive an attempt.
 */
export function givingUpAfter<Input, Result>(
  tries: number,
  run: (input: Input) => Promise<Result>,
): (input: Input) => Promise<Result> {
  return async (input) => {
    try {
      return await run(input);
    } catch (error) {
      if (error instanceof CancelledFailure || !isOwnFault(error)) throw error;
      const ownFailures = readOwnFailures() + 1;
      const message = error instanceof Error ? error.message : String(error);
      if (ownFailures < tries) {
        const summary = `${message}; failure ${ownFailures} of at most ${tries}`;
        Context.current().heartbeat({ stage: 'waiting', summary, ownFailures });
        throw error;
      }
      throw ApplicationFailure.create({
        type: error instanceof Failure ? error.type : 'Internal',
        message,
        details: [error instanceof Failure ? error.details : { cause: String(error) }],
        nonRetryable: true,
        cause: error instanceof Error ? error : undefined,
      });
    }
  };
}

function isOwnFault(error: unknown): boolean {
  if (!(error instanceof Failure)) return !(error instanceof Error && error.name === 'AbortError');
  return error.type === 'ToolFailed';
}
