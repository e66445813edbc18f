import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { Pool, type Dispatcher } from 'undici';
import { Failure } from '../../workflows/contract/failures';
import { KiB, MiB } from '../../workflows/contract/bytes';
import { parseEndpoint, type Endpoint } from './endpoint';
import { failureOfNetwork, wasCut } from './errors';
import { unlessAborted, withDeadline } from '../../lib/abort';
import { httpSpan, traced } from '../../lib/traced';
import type { Secret } from '../../lib/secret';
import type { ServiceTls } from '../../lib/service-tls';

/** Milliseconds. */
export interface GlanceTimeouts {
  /** To a connection. */
  connectMs: number;
  /** From a request to the first byte of its answer. */
  headersMs: number;
  /** The longest silence within a body. */
  bodyIdleMs: number;
  /** One metadata call with all its retries. */
  metadataMs: number;
  /** From the last byte of an upload to its answer: the service may still have to move the bytes. */
  uploadAnswerMs: number;
}

export const defaultGlanceTimeouts: GlanceTimeouts = {
  connectMs: 5_000,
  headersMs: 10_000,
  bodyIdleMs: 30_000,
  metadataMs: 12_000,
  uploadAnswerMs: 300_000,
};

/** Gives the X-Auth-Token; asked again with the one that was rejected by a 401. */
export type GetToken = (rejected?: Secret) => Promise<Secret>;

export interface TransportOptions {
  /** The image endpoint of a service catalogue, with or without `/v2`. */
  endpoint: string;
  /** Without it no token is sent. */
  getToken?: GetToken;
  tls?: ServiceTls;
  timeouts?: Partial<GlanceTimeouts>;
}

export interface HttpRequest {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below `/v2`, with its query. */
  path: string;
  headers?: Record<string, string | undefined>;
  body?: string | AsyncIterable<Buffer>;
  headersMs?: number;
  signal?: AbortSignal;
}

export interface MetadataAnswer {
  status: number;
  text: string;
}

export interface Transport {
  readonly service: string;
  readonly place: Pick<Endpoint, 'origin' | 'basePath'>;
  readonly limits: Readonly<GlanceTimeouts>;
  readonly tls: ServiceTls;
  /** @returns undefined where no token is wanted. @throws the caller's abort as its reason. */
  findToken(signal: AbortSignal | undefined, rejected?: Secret): Promise<Secret | undefined>;
  /** One metadata call: its body read within limits, asked again when the service says "later" or an idle connection was just closed. */
  exchange(request: HttpRequest & { body?: string }): Promise<MetadataAnswer>;
  /** One request whose answer's body is still to be read or thrown away. */
  open(request: HttpRequest): Promise<Dispatcher.ResponseData>;
  /** Ends what still runs. */
  close(): Promise<void>;
}

/** Connections to one service: more than all downloads a host may run, so that a metadata call never waits behind them. */
const CONNECTIONS = 128;
const METADATA_ATTEMPTS = 4;
/** Wait after a 429 or 503 that does not say how long. */
const RETRY_AFTER_MS = 500;
const METADATA_LIMIT_BYTES = 16 * MiB;
const ERROR_TEXT_LIMIT_BYTES = 64 * KiB;
const HEADERS_LIMIT_BYTES = 32 * KiB;

/** HTTP to one image service over reused connections. @throws Failure InvalidRequest (endpoint), ImageServiceUnavailable; the caller's abort as its reason. */
export function createTransport({ endpoint, getToken, tls = {}, timeouts }: TransportOptions): Transport {
  const { service, origin, basePath } = parseEndpoint(endpoint);
  const limits = { ...defaultGlanceTimeouts, ...timeouts };
  const pool = new Pool(origin, {
    connections: CONNECTIONS,
    connect: { timeout: limits.connectMs, ...tls },
    headersTimeout: limits.headersMs,
    bodyTimeout: limits.bodyIdleMs,
    maxHeaderSize: HEADERS_LIMIT_BYTES,
  });

  async function findToken(signal: AbortSignal | undefined, rejected?: Secret): Promise<Secret | undefined> {
    const token = getToken?.(rejected);
    // Other callers wait for the same token: it is asked for though this one gives up.
    return await (token === undefined || signal === undefined ? token : unlessAborted(token, signal));
  }

  function send(request: HttpRequest, token: Secret | undefined): Promise<Dispatcher.ResponseData> {
    const { method, path } = request;
    return traced(
      () => httpSpan({ service: 'glance', method, url: `${origin}${basePath}/v2${path}` }),
      async ({ say, headers }) => {
        const response = await sendUntraced({ ...request, headers: { ...request.headers, ...headers() } }, token);
        say({ 'http.response.status_code': response.statusCode });
        return response;
      },
    );
  }

  async function sendUntraced(request: HttpRequest, token: Secret | undefined): Promise<Dispatcher.ResponseData> {
    try {
      const response = await pool.request({
        method: request.method,
        path: `${basePath}/v2${request.path}`,
        headers: { accept: '*/*', ...request.headers, 'x-auth-token': token?.reveal() },
        body: typeof request.body === 'object' ? Readable.from(request.body, { objectMode: false }) : request.body,
        headersTimeout: request.headersMs,
        signal: request.signal,
      });
      // The reader of the body meets its error there; a body that nobody reads any more must not end the process.
      response.body.on('error', () => undefined);
      return response;
    } catch (error) {
      request.signal?.throwIfAborted();
      throw failureOfNetwork(service, error);
    }
  }

  async function open(request: HttpRequest): Promise<Dispatcher.ResponseData> {
    const token = await findToken(request.signal);
    const response = await send(request, token);
    const mayAskAgain = request.body === undefined || typeof request.body === 'string';
    if (response.statusCode !== 401 || token === undefined || !mayAskAgain) return response;
    await response.body.dump();
    return send(request, await findToken(request.signal, token));
  }

  async function exchangeOnce(request: HttpRequest): Promise<MetadataAnswer & { retryAfterMs: number }> {
    const response = await open(request);
    return {
      status: response.statusCode,
      text: await readText(response, service),
      retryAfterMs: parseRetryAfterMs(response.headers['retry-after']),
    };
  }

  async function exchange(request: HttpRequest): Promise<MetadataAnswer> {
    const deadline = Date.now() + limits.metadataMs;
    const late = new Failure('ImageServiceUnavailable', { service, cause: `no answer within ${limits.metadataMs} ms` });
    return withDeadline({ ms: limits.metadataMs, late, signal: request.signal }, async (signal) => {
      for (let attempt = 1; ; attempt += 1) {
        const mayAskAgain = attempt < METADATA_ATTEMPTS;
        try {
          const answer = await exchangeOnce({ ...request, signal });
          const busy = answer.status === 429 || answer.status === 503;
          if (!busy || !mayAskAgain || Date.now() + answer.retryAfterMs >= deadline) return answer;
          await delay(answer.retryAfterMs, undefined, { signal });
        } catch (error) {
          signal.throwIfAborted();
          const cutWhileIdle = error instanceof Failure && wasCut(error.cause) && request.method === 'GET';
          if (!cutWhileIdle || !mayAskAgain) throw error;
        }
      }
    });
  }

  return { service, place: { origin, basePath }, limits, tls, findToken, exchange, open, close: () => pool.destroy() };
}

/** @returns the text of an answer that is not what was asked for, cut at a limit; its connection is given back or closed. */
export async function readErrorText(response: Dispatcher.ResponseData): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > ERROR_TEXT_LIMIT_BYTES) break;
    }
  } catch {
    // The status is what counts; a text that is cut short is still shown.
  }
  return Buffer.concat(chunks).subarray(0, ERROR_TEXT_LIMIT_BYTES).toString('utf8');
}

async function readText(response: Dispatcher.ResponseData, service: string): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response.body as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > METADATA_LIMIT_BYTES) throw new Error(`the answer is longer than ${METADATA_LIMIT_BYTES} bytes`);
      chunks.push(chunk);
    }
  } catch (error) {
    throw failureOfNetwork(service, error);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Seconds or a date, as RFC 9110 section 10.2.3 has it. */
function parseRetryAfterMs(header: string | string[] | undefined): number {
  if (typeof header !== 'string') return RETRY_AFTER_MS;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(ms, 0) : RETRY_AFTER_MS;
}
