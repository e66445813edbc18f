import {
  Connection,
  defaultGrpcRetryOptions,
  makeGrpcRetryInterceptor,
  type ConnectionOptions,
} from '@temporalio/client';
import { InterceptingCall, status } from '@grpc/grpc-js';

/** A server that lives answers everything in this time, a query that no worker answers included. */
const CALL_TIMEOUT_MS = 30_000;
/** A server that lives ends a long poll itself after about 20 s. */
const LONG_POLL_TIMEOUT_MS = 60_000;
const longPolls = /\/(?:GetWorkflowExecutionHistory|PollWorkflowExecutionUpdate|UpdateWorkflowExecution)$/;

/** How a server is known and knows us. Holds secrets: nothing prints it. */
export interface TemporalAccess {
  tls?: ConnectionOptions['tls'];
  apiKey?: string;
  /** Headers of every call. */
  metadata?: ConnectionOptions['metadata'];
}

type Interceptor = NonNullable<ConnectionOptions['interceptors']>[number];

/**
 * The one way to a Temporal server in the whole tree; nothing is connected yet. The SDK gives a call no deadline of its
 * own, so that a stopped server or a cut network would hold it for ever: here every attempt of a call has one, unless
 * the caller sets a nearer one. Between two attempts the SDK hears neither an abort nor that the connection was closed:
 * here both end the call as cancelled.
 */
export function openTemporal(
  options: Pick<ConnectionOptions, 'address' | 'connectTimeout'> & TemporalAccess,
): Connection {
  const retry = makeGrpcRetryInterceptor(defaultGrpcRetryOptions());
  return Connection.lazy({ ...options, interceptors: [heedingCancel, retry, withinDeadline, unlessClosed] });
}

/**
 * Stands behind the retries, so that each attempt has its own time; a call that was in time to fail is not tried again.
 */
const withinDeadline: Interceptor = (options, nextCall) => {
  const { path } = options.method_definition;
  const deadline = options.deadline ?? Date.now() + (longPolls.test(path) ? LONG_POLL_TIMEOUT_MS : CALL_TIMEOUT_MS);
  return nextCall({ ...options, deadline }) as Intercepted;
};

type Intercepted = ReturnType<Interceptor>;

/** Stands before the retries: a cancelled call ends at once, also while it waits for its next attempt. */
const heedingCancel: Interceptor = (options, nextCall) => {
  let end = (): void => undefined;
  return new InterceptingCall(nextCall(options), {
    start: (metadata, listener, next) => {
      end = () =>
        listener.onReceiveStatus({ code: status.CANCELLED, details: 'the caller has cancelled it', metadata });
      next(metadata, listener);
    },
    cancel: (next) => {
      next();
      end();
    },
  });
};

/** Stands behind the retries, which start in a timer: an error that gRPC throws there would end the whole process. */
const unlessClosed: Interceptor = (options, nextCall) => {
  try {
    return nextCall(options) as Intercepted;
  } catch (error) {
    return new InterceptingCall(cancelledCall(error instanceof Error ? error.message : String(error)));
  }
};

function cancelledCall(details: string): ReturnType<Parameters<Interceptor>[1]> {
  const ignore = (): void => undefined;
  return {
    start: (metadata, listener) => {
      queueMicrotask(() => {
        // As gRPC ends a call that has no answer: the SDK's retries rely on it.
        listener?.onReceiveMessage?.(null);
        listener?.onReceiveStatus?.({ code: status.CANCELLED, details, metadata });
      });
    },
    cancelWithStatus: ignore,
    getPeer: () => '',
    sendMessageWithContext: ignore,
    sendMessage: ignore,
    startRead: ignore,
    halfClose: ignore,
    getAuthContext: () => null,
  };
}
