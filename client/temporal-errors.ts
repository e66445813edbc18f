import { ActivityFailure, ApplicationFailure, CancelledFailure, TerminatedFailure } from '@temporalio/common';
import { isGrpcServiceError, WorkflowFailedError, WorkflowNotFoundError } from '@temporalio/client';
import { errorMessage } from '../lib/error-message';
import { isFailureType } from '../workflows/contract/failures';
import { ImageVolumeCacheError } from './errors';

/** Where a call failed, and with which workflow. */
export interface ErrorContext {
  /** Address of the Temporal server. */
  temporal: string;
  workflowId?: string;
}

/** @returns `error` as the library's error, whatever was thrown by the Temporal client. */
export function toImageVolumeCacheError(error: unknown, context: ErrorContext): ImageVolumeCacheError {
  const { workflowId } = context;
  if (error instanceof ImageVolumeCacheError) return error;
  if (error instanceof WorkflowFailedError) return ofFailedWorkflow(error, context);
  if (error instanceof WorkflowNotFoundError) {
    return new ImageVolumeCacheError({
      type: 'WorkflowNotFound',
      message: `there is no workflow ${error.workflowId}`,
      workflowId,
      cause: error,
    });
  }
  return (
    ofService(error, context) ??
    new ImageVolumeCacheError({ type: 'Unexpected', message: errorMessage(error), workflowId, cause: error })
  );
}

function ofFailedWorkflow(error: WorkflowFailedError, { workflowId }: ErrorContext): ImageVolumeCacheError {
  const cause = error.cause instanceof ActivityFailure ? error.cause.cause : error.cause;
  if (cause instanceof ApplicationFailure && isFailureType(cause.type)) {
    return new ImageVolumeCacheError({
      type: cause.type,
      message: cause.message,
      details: detailsOf(cause),
      workflowId,
      cause: error,
    });
  }
  if (cause instanceof CancelledFailure) {
    return new ImageVolumeCacheError({
      type: 'CreateCancelled',
      message: `workflow ${workflowId} was cancelled`,
      workflowId,
      cause: error,
    });
  }
  if (cause instanceof TerminatedFailure) {
    const message = `workflow ${workflowId} was terminated by an operator: ${cause.message}`;
    return new ImageVolumeCacheError({ type: 'Terminated', message, workflowId, cause: error });
  }
  const message = `workflow ${workflowId} failed: ${errorMessage(cause ?? error)}`;
  return new ImageVolumeCacheError({ type: 'Unexpected', message, workflowId, cause: error });
}

function detailsOf(failure: ApplicationFailure): Record<string, unknown> {
  const [details] = failure.details ?? [];
  return typeof details === 'object' && details !== null ? { ...details } : {};
}

/** gRPC status codes: https://grpc.github.io/grpc/core/md_doc_statuscodes.html */
const DEADLINE_EXCEEDED = 4;
const NOT_FOUND = 5;
const PERMISSION_DENIED = 7;
const UNAVAILABLE = 14;
const UNAUTHENTICATED = 16;

function ofService(error: unknown, { temporal, workflowId }: ErrorContext): ImageVolumeCacheError | undefined {
  const status = findGrpcStatus(error);
  const unavailable = (said: string): ImageVolumeCacheError =>
    new ImageVolumeCacheError({
      type: 'TemporalUnavailable',
      message: `Temporal at ${temporal} ${said}`,
      details: { address: temporal },
      workflowId,
      cause: error,
    });
  switch (status?.code) {
    case UNAVAILABLE:
    case DEADLINE_EXCEEDED:
      return unavailable(`does not answer: ${START}`);
    case PERMISSION_DENIED:
    case UNAUTHENTICATED:
      return unavailable(
        `refused our credentials: ${status.details} (TEMPORAL_API_KEY, TEMPORAL_TLS_CLIENT_CERT_PATH)`,
      );
    case NOT_FOUND:
      return unavailable(`answers: ${status.details}${/namespace/i.test(status.details) ? ` ${NAMESPACE}` : ''}`);
    case undefined:
      return isConnectError(error) ? unavailable(`does not answer: ${START}`) : undefined;
    default:
      return undefined;
  }
}

/** Remedies, and the keys of the configuration. */
const START = 'start it, or name another (temporal.address, TEMPORAL_ADDRESS)';
const NAMESPACE = 'Create it, or name another (temporal.namespace, TEMPORAL_NAMESPACE).';

/** Causes are nested at most this deep in practice; a longer chain is a loop. */
const MAX_CAUSES = 10;

function findGrpcStatus(error: unknown): { code: number; details: string } | undefined {
  let current = error;
  for (let depth = 0; depth < MAX_CAUSES && current instanceof Error; depth += 1) {
    if (isGrpcServiceError(current)) return { code: current.code, details: current.details };
    current = current.cause;
  }
  return undefined;
}

/** The SDK gives up on its first connection with this message and no gRPC status. */
function isConnectError(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('Failed to connect before the deadline');
}
