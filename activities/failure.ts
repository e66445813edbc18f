import { ApplicationFailure } from '@temporalio/common';
import { Failure } from '../workflows/contract/failures';

/**
 * The one place that turns our failures into Temporal's. The type and the public message are what the UI and clients see; `details[0]` is the
 * failure's details. Whatever is no `Failure` stays as it is: a bug is retried until it is fixed or the budget is spent.
 */
export function toApplicationFailure(error: unknown): unknown {
  if (!(error instanceof Failure)) return error;
  return ApplicationFailure.create({
    type: error.type,
    message: error.message,
    details: [error.details],
    nonRetryable: error.isFinal,
    nextRetryDelay: error.type === 'FlightClosing' ? FLIGHT_CLOSING_RETRY : undefined,
    cause: error.cause instanceof Error ? error.cause : undefined,
  });
}

/** A flight that has answered closes within milliseconds. */
const FLIGHT_CLOSING_RETRY = '100ms';
