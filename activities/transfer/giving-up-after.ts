import { activityInfo } from '@temporalio/activity';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { Failure } from '../../workflows/contract/failures';

/**
 * An activity whose own failures are final from its `tries`th attempt on: a tool that fails so often will fail again, and so will a bug. Workers that
 * are lost, and services that are away, end nothing: they are no word about the image.
 */
export function givingUpAfter<Input, Result>(
  tries: number,
  run: (input: Input) => Promise<Result>,
): (input: Input) => Promise<Result> {
  return async (input) => {
    try {
      return await run(input);
    } catch (error) {
      if (activityInfo().attempt < tries || error instanceof CancelledFailure || !isOwnFault(error)) throw error;
      throw ApplicationFailure.create({
        type: error instanceof Failure ? error.type : 'Internal',
        message: error instanceof Error ? error.message : String(error),
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
