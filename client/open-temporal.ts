import {
  Connection,
  defaultGrpcRetryOptions,
  makeGrpcRetryInterceptor,
  type ConnectionOptions,
} from '@temporalio/client';

/** A server that lives answers everything in this time, a query that no worker answers included. */
const CALL_TIMEOUT_MS = 30_000;
/** A server that lives ends a long poll itself after about 20 s. */
const LONG_POLL_TIMEOUT_MS = 60_000;
const longPolls = /\/(?:GetWorkflowExecutionHistory|PollWorkflowExecutionUpdate|UpdateWorkflowExecution)$/;

type Interceptor = NonNullable<ConnectionOptions['interceptors']>[number];

/**
 * The one way to a Temporal server in the whole tree; nothing is connected yet. The SDK gives a call no deadline of its
 * own, so that a stopped server or
 * a cut network would hold it for ever: here every attempt of a call has one, unless the caller sets a nearer one.
 */
export function openTemporal(options: Pick<ConnectionOptions, 'address' | 'tls' | 'connectTimeout'>): Connection {
  return Connection.lazy({
    ...options,
    interceptors: [makeGrpcRetryInterceptor(defaultGrpcRetryOptions()), withinDeadline],
  });
}

/**
 * Stands behind the retries, so that each attempt has its own time; a call that was in time to fail is not tried again.
 */
const withinDeadline: Interceptor = (options, nextCall) => {
  const { path } = options.method_definition;
  const deadline = options.deadline ?? Date.now() + (longPolls.test(path) ? LONG_POLL_TIMEOUT_MS : CALL_TIMEOUT_MS);
  return nextCall({ ...options, deadline }) as ReturnType<Interceptor>;
};
