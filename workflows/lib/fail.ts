import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  CancelledFailure,
  isCancellation,
  patched,
  TimeoutFailure,
} from '@temporalio/workflow';
import {
  failureOfImage,
  failures,
  holdsForCacheKey,
  isFailureType,
  publicMessage,
  type FailureDetails,
  type FailureRecord,
  type FailureType,
} from '../contract/failures';
import type { ImageId } from '../contract/ids';
import type { Verdict } from '../contract/population';

/**
 * The one place where workflow code throws on purpose: ends the run with a typed failure whose message a user may read.
 */
export function fail<Type extends FailureType>(type: Type, details: FailureDetails[Type]): never {
  return failWith({ type, message: publicMessage(type, details), details: { ...details } });
}

export function failWith(failure: FailureRecord, cause?: unknown): never {
  throw ApplicationFailure.create({
    type: failure.type,
    message: failure.message,
    details: [failure.details],
    nonRetryable: true,
    cause: cause instanceof Error ? cause : undefined,
  });
}

/**
 * @returns the typed failure behind an activity's error; `Internal` where an activity failed in a way the table does
 * not know and its retries are spent. Undefined for a cancellation and for an error of workflow code, which stays plain
 * and holds the task until the fix is deployed.
 */
export function findFailure(error: unknown): FailureRecord | undefined {
  if (isCancellation(error)) return undefined;
  const cause = causeOf(error);
  if (!(cause instanceof ApplicationFailure) || !isFailureType(cause.type)) {
    if (!(error instanceof ActivityFailure)) return undefined;
    const details = { cause: `${error.activityType}: ${error.cause?.message ?? error.message}` };
    return { type: 'Internal', message: publicMessage('Internal', details), details };
  }
  return {
    type: cause.type,
    message: cause.message,
    details: (cause.details?.[0] as Record<string, unknown> | undefined) ?? {},
  };
}

/** As `findFailure`, for a step whose failure is an outcome of the run. @throws the error itself when it is no typed failure, or the run was cancelled. */
export function expectFailure(error: unknown): FailureRecord {
  const failure = isCancelled(error) ? undefined : findFailure(error);
  if (failure === undefined) throw error;
  return failure;
}

/**
 * @returns what a flight's failure says to one who waits for `imageId`; undefined where it is about the record of
 * another image with the same bytes: the create acquires again, and another flight reads another record.
 */
export function findFailureFor(
  imageId: ImageId,
  { failure, imageId: readImageId }: Extract<Verdict, { kind: 'failed' }>,
): FailureRecord | undefined {
  if (readImageId === imageId) return failure;
  // Runs of older versions acquire again after every failure.
  if (!patched('failures-of-the-same-bytes')) return undefined;
  return holdsForCacheKey(failure) ? failureOfImage(failure, imageId) : undefined;
}

/**
 * @returns whether the run was cancelled: a step that is waited for after the cancel may still have failed in its own
 * way.
 */
export function isCancelled(error: unknown): boolean {
  return isCancellation(error) || CancellationScope.current().consideredCancelled;
}

/** Ends a cancelled run as cancelled, whatever its last step failed with. */
export function failCancelled(error: unknown): never {
  throw isCancellation(error) ? error : new CancelledFailure('the run was cancelled');
}

/**
 * @returns whether no retry of the same step can help: a typed failure of the table's final kind, or a cancellation.
 */
export function isFinal(error: unknown): boolean {
  if (isCancellation(error)) return true;
  const failure = findFailure(error);
  return failure !== undefined && !failures[failure.type].retry;
}

/**
 * As `findFailure`, for a step on a backend: one that nobody took, or that stopped without a word, says that the
 * backend is unavailable.
 */
export function findBackendFailure(backend: string, error: unknown): FailureRecord | undefined {
  const failure = findFailure(error);
  if (failure?.type !== 'Internal' || findTimeout(error) === undefined) return failure;
  const details = { backend, cause: failure.message };
  return { type: 'BackendUnavailable', message: publicMessage('BackendUnavailable', details), details };
}

/** The failure of an activity; of one that ran out of time, its last try's, where that is known. */
function causeOf(error: unknown): unknown {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  return cause instanceof TimeoutFailure && cause.cause instanceof ApplicationFailure ? cause.cause : cause;
}

/**
 * @returns whether an activity ended because the time for it and its retries was up, whatever its last try failed with.
 */
export function isBudgetSpent(error: unknown): boolean {
  if (!(error instanceof ActivityFailure)) return false;
  return error.retryState === 'TIMEOUT' || findTimeout(error) === 'SCHEDULE_TO_CLOSE';
}

/** @returns which of an activity's timeouts ended it, if one did. */
export function findTimeout(error: unknown): TimeoutFailure['timeoutType'] | undefined {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  return cause instanceof TimeoutFailure ? cause.timeoutType : undefined;
}

/** Runs a step whose typed failure is the run's own: the UI shows it without an activity's error around it. */
export async function typed<Result>(step: () => Promise<Result>): Promise<Result> {
  try {
    return await step();
  } catch (error) {
    const failure = findFailure(error);
    if (failure === undefined) throw error;
    return failWith(failure, error);
  }
}
