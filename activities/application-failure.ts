import { ApplicationFailure, ApplicationFailureCategory } from '@temporalio/common';
import { Failure, type FailureType } from '../workflows/contract/failures';

/**
 * The one place that turns our failures into Temporal's. The type and the public message are what the UI and clients
 * see; `details[0]` is the failure's details. An error that is no `Failure` stays as it is: a bug is retried until it
 * is fixed or the budget is spent.
 */
export function toApplicationFailure(error: unknown): unknown {
  if (!(error instanceof Failure)) return error;
  const type: FailureType = error.type;
  return ApplicationFailure.create({
    type,
    message: error.message,
    details: [error.details],
    nonRetryable: error.isFinal,
    nextRetryDelay: retryDelays[type],
    // A wait is no fault that a log or a metric should tell of.
    category: waits.includes(type) ? ApplicationFailureCategory.BENIGN : undefined,
    cause: error.cause instanceof Error ? error.cause : undefined,
  });
}

/** Those that do not grow. */
const retryDelays: Partial<Record<FailureType, '100ms' | '2s' | '30s'>> = {
  // A flight that has answered closes within milliseconds.
  FlightClosing: '100ms',
  // A wait for another run is between two tries: that holds no slot.
  VolumeBusy: '2s',
  // An operator has to do something, and Keystone may lock an account that is tried too often.
  CredentialsRefused: '30s',
};

const waits: readonly FailureType[] = ['FlightClosing', 'StillRunning', 'VolumeBusy'];
