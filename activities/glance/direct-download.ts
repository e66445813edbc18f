import { connect as connectTcp, isIP, type Socket, type OnReadOpts } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { Failure } from '../../workflows/contract/failures';
import { createBodyReader, type BodyReader, type BodyReaderOptions } from './body-reader';
import type { ByteSink } from './byte-sink';
import { failureOfNetwork } from './errors';
import type { DownloadRequest } from './image-service';
import type { ResponseHead } from './response-head';
import { httpSpan, traced } from '../../lib/traced';
import type { Secret } from '../../lib/secret';
import type { ServiceTls } from '../../lib/service-tls';
import type { Transport } from './transport';

/**
 * Reads a body from the connection straight into `sink`: a general HTTP client allocates and copies every 64 KiB.
 *
 * Measured beside undici 7 into the same blocks, hash and disk included, 512 MiB, two busy cores, 10 runs of each in turn: a raw image took 3.2 s here,
 * 5.5 s by `request` and 6.6 s by a handler of `dispatch` (at the best 1.95, 2.7 and 3.1 s), and 1.3, 1.8 and 1.8 s of processor time; a qcow2 of
 * compressed clusters that is unpacked meanwhile took 2.6, 3.2 and 3.1 s of processor time. Below a tenth of a miss it is not worth its lines.
 *
 * Only the plain answer is understood: exactly the bytes that were asked for, with their length, not encoded in any way.
 * @returns false for every other answer, of which nothing was used: ask again by `openDownload`, which says why.
 * @throws ImageServiceUnavailable (retried), with what came before in the sink; errors of the sink; the caller's abort as its reason.
 */
export async function downloadInto(transport: Transport, request: DownloadRequest, sink: ByteSink): Promise<boolean> {
  const { signal } = request;
  signal?.throwIfAborted();
  const token = await transport.findToken(signal);
  const outcome = await downloadWith(transport, request, { token, sink });
  if (outcome.isUsed || outcome.status !== 401 || token === undefined) return outcome.isUsed;
  const { isUsed } = await downloadWith(transport, request, { token: await transport.findToken(signal, token), sink });
  return isUsed;
}

interface Outcome {
  isUsed: boolean;
  /** Undefined where the answer was none of HTTP/1.1. */
  status: number | undefined;
}

async function downloadWith(
  transport: Transport,
  { imageId, offsetBytes, expectedBytes, signal }: DownloadRequest,
  { token, sink }: { token: Secret | undefined; sink: ByteSink },
): Promise<Outcome> {
  const { origin, basePath } = transport.place;
  const url = new URL(origin);
  const lines = [
    `GET ${basePath}/v2/images/${imageId}/file HTTP/1.1`,
    `host: ${url.host}`,
    'accept: */*',
    'connection: close',
    ...(offsetBytes === 0 ? [] : [`range: bytes=${offsetBytes}-`]),
    ...(token === undefined ? [] : [`x-auth-token: ${token.reveal()}`]),
  ];
  let status: number | undefined;
  const isPlain = (head: ResponseHead): boolean => {
    ({ status } = head);
    return isWhatWasAsked(head, { offsetBytes, expectedBytes });
  };
  const body = { lengthBytes: expectedBytes - offsetBytes, isPlain, sink };
  return await traced(
    () => httpSpan({ service: 'glance', method: 'GET', url: `${origin}${basePath}/v2/images/${imageId}/file` }),
    async ({ say, headers }) => {
      const traceLines = Object.entries(headers()).map(([name, value]) => `${name}: ${value}`);
      const request = `${[...lines, ...traceLines].join('\r\n')}\r\n\r\n`;
      const isUsed = await transfer(transport, { url, request, signal }, body);
      if (status !== undefined) say({ 'http.response.status_code': status });
      return { isUsed, status };
    },
  );
}

function isWhatWasAsked(
  { status, headers }: ResponseHead,
  { offsetBytes, expectedBytes }: Pick<DownloadRequest, 'offsetBytes' | 'expectedBytes'>,
): boolean {
  if (headers.has('transfer-encoding') || headers.has('content-encoding')) return false;
  if (headers.get('content-length') !== String(expectedBytes - offsetBytes)) return false;
  if (offsetBytes === 0) return status === 200;
  return (
    status === 206 && headers.get('content-range') === `bytes ${offsetBytes}-${expectedBytes - 1}/${expectedBytes}`
  );
}

interface Exchange {
  url: URL;
  request: string;
  signal: AbortSignal | undefined;
}

type Body = Pick<BodyReaderOptions, 'lengthBytes' | 'isPlain' | 'sink'>;

function transfer(
  { service, limits, tls }: Transport,
  { url, request, signal }: Exchange,
  body: Body,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    let settled = false;
    let ended = false;
    const settle = (how: () => void): void => {
      if (settled) return;
      settled = true;
      reader.close();
      signal?.removeEventListener('abort', onAbort);
      clearTimeout(connecting);
      socket.destroy();
      how();
    };
    const fail = (error: unknown): void =>
      settle(() => reject(error instanceof Error ? error : new Error(String(error))));
    const unavailable = (cause: string): void => fail(new Failure('ImageServiceUnavailable', { service, cause }));
    const cut = (): void => unavailable('the connection was cut');
    const onAbort = (): void => fail(signal?.reason);

    const reader = createBodyReader({
      ...body,
      onBody: () => socket.setTimeout(limits.bodyIdleMs),
      // The time that the disk takes is not the service's.
      onFull: () => socket.setTimeout(0),
      onRoom: () => {
        if (ended) return cut();
        socket.setTimeout(limits.bodyIdleMs);
        socket.resume();
      },
      onEnd: (isUsed) => settle(() => resolve(isUsed)),
      onFailure: fail,
    });
    const socket = openSocket({ url, tls, onread: readingInto(reader, fail) });
    const connecting = setTimeout(() => unavailable('no connection in time'), limits.connectMs);
    socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
      clearTimeout(connecting);
      socket.setTimeout(limits.headersMs);
      socket.write(request);
    });
    socket.on('timeout', () => unavailable(reader.hasHead ? 'the answer stalled' : 'no answer in time'));
    socket.on('error', (error) => fail(failureOfNetwork(service, error)));
    const onEnd = (): void => {
      ended = true;
      if (!reader.isFull) cut();
    };
    socket.on('end', onEnd).on('close', onEnd);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

/** An error that is thrown while the connection hands on its bytes would end the process. */
function readingInto(reader: BodyReader, fail: (error: unknown) => void): OnReadOpts {
  const nowhere: Uint8Array = Buffer.alloc(1);
  const guarded = <Result>(work: () => Result, otherwise: Result): Result => {
    try {
      return work();
    } catch (error) {
      fail(error);
      return otherwise;
    }
  };
  return {
    buffer: () => guarded<Uint8Array>(() => reader.next(), nowhere),
    callback: (bytes, buffer) => guarded(() => reader.take(bytes, buffer), false),
  };
}

function openSocket({ url, tls, onread }: { url: URL; tls: ServiceTls; onread: OnReadOpts }): Socket {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  if (url.protocol === 'http:') return connectTcp({ host, port: Number(url.port || 80), onread });
  const servername = isIP(host) === 0 ? host : undefined;
  // The type leaves out what the documentation of tls.connect names.
  const options = { host, port: Number(url.port || 443), servername, onread, ...tls };
  return connectTls(options);
}
