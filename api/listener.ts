import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { SecureContextOptions } from 'node:tls';
import type { ApiTls } from '../client/config/api-tls';
import type { Config } from '../client/config/schema';

/** Limits on requests: their size, their time and their number. */
export type ApiLimits = Config['api']['limits'];

/** Between two looks for connections that are too slow. */
const SLOW_CHECK_MS = 1000;
/** A connection on which nothing moves for so long is ended, a client that does not read its answer for one. */
const SILENCE_MS = 120_000;
/** A client may keep a connection for its next request; longer than the minute that load balancers keep theirs. */
const KEEP_ALIVE_MS = 72_000;

interface ListenerOptions {
  limits: Pick<ApiLimits, 'headersTimeout' | 'requestTimeout'>;
  /** Undefined: plain HTTP. */
  tls: ApiTls | undefined;
}

/** @returns a server of HTTP, or of HTTPS where there is a certificate, that ends what is too slow. */
export function createListener(
  answer: RequestListener,
  { limits: { headersTimeout, requestTimeout }, tls }: ListenerOptions,
): Server {
  const timeouts = {
    headersTimeout,
    requestTimeout,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: SLOW_CHECK_MS,
  };
  const server: Server =
    tls === undefined
      ? createServer(timeouts, answer)
      : createTlsServer(
          {
            ...timeouts,
            ...secureContextOf(tls),
            handshakeTimeout: headersTimeout,
            requestCert: tls.clientCa !== undefined,
            rejectUnauthorized: tls.clientCa !== undefined,
          },
          answer,
        );
  return server.setTimeout(SILENCE_MS);
}

/** @returns what of it may change while the server runs. */
export function secureContextOf({ cert, key, clientCa }: ApiTls): SecureContextOptions {
  return { cert, key, ca: clientCa, minVersion: 'TLSv1.2' };
}
