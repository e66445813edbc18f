import { ApplicationFailure } from '@temporalio/common';
import { Failure, failures, type FailureType } from '../workflows/contract/failures';

/**
 * The one place that turns our failures into Temporal's. The type and the public message are what the UI and clients see; `details[0]` is the
 * failure's details. Whatever is no `Failure` stays as it is: a bug is retried until it is mended or the budget is spent.
 */
export function toApplicationFailure(error: unknown): unknown {
  if (!(error instanceof Failure)) return error;
  const type: FailureType = error.type;
  return ApplicationFailure.create({
    type,
    message: error.message,
    details: [error.details],
    nonRetryable: !failures[type].retry,
    nextRetryDelay: type === 'FlightClosing' ? FLIGHT_CLOSING_RETRY : undefined,
    cause: error.cause instanceof Error ? error.cause : undefined,
  });
}

/** A flight that has answered closes within milliseconds. */
const FLIGHT_CLOSING_RETRY = '100ms';

type ActivityFunctions<Activities> = { [Name in keyof Activities]: (input: never) => Promise<unknown> };

/** @returns the same activities, each raising `ApplicationFailure` where it raised `Failure`. */
export function withTypedFailures<Activities extends ActivityFunctions<Activities>>(
  activities: Activities,
): Activities {
  const wrap =
    (run: (input: never) => Promise<unknown>) =>
    async (input: never): Promise<unknown> => {
      try {
        return await run(input);
      } catch (error) {
        throw toApplicationFailure(error);
      }
    };
  const wrapped = Object.entries<(input: never) => Promise<unknown>>(activities).map(([name, run]) => [
    name,
    wrap(run),
  ]);
  return Object.fromEntries(wrapped) as Activities;
}
