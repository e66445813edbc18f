import type { Dispatcher } from 'undici';
import { Failure } from '../../workflows/contract/failures';
import { failureOfNetwork, failureOfStatus } from './errors';
import type { Download, DownloadRequest } from './image-service';
import { readErrorText, type Transport } from './transport';

/**
 * Opens `GET …/file` from `offsetBytes`. Accepted are 200, which is the whole from its start whatever was asked, and 206 that starts
 * exactly where asked. Everything else has a failure of its own.
 */
export async function openDownload(transport: Transport, request: DownloadRequest): Promise<Download> {
  const response = await requestFile(transport, request);
  switch (response.statusCode) {
    case 200:
      return downloadOf(transport, response, { startsAtBytes: 0, signal: request.signal });
    case 206:
      return openPart(transport, response, request);
    default:
      throw await refusalOf(transport, response, request);
  }
}

async function requestFile(
  transport: Transport,
  { imageId, offsetBytes, signal }: DownloadRequest,
): Promise<Dispatcher.ResponseData> {
  const whole = { method: 'GET', path: `/images/${imageId}/file`, signal } as const;
  if (offsetBytes === 0) return transport.open(whole);
  const response = await transport.open({ ...whole, headers: { range: `bytes=${offsetBytes}-` } });
  if (response.statusCode !== 400) return response;
  // A store that cannot seek answers 400 to any range: from the start, then.
  await response.body.dump();
  return transport.open(whole);
}

async function openPart(
  transport: Transport,
  response: Dispatcher.ResponseData,
  request: DownloadRequest,
): Promise<Download> {
  const range = parseContentRange(response.headers['content-range']);
  if (range !== undefined && range.sizeBytes !== request.expectedBytes) {
    response.body.destroy();
    throw imageChanged(request, `${range.sizeBytes} bytes`);
  }
  if (range?.startsAtBytes !== request.offsetBytes) {
    response.body.destroy();
    const said = String(response.headers['content-range'] ?? 'nothing');
    throw unavailable(
      transport,
      `asked for the bytes from ${request.offsetBytes}, it sends Content-Range: ${said.slice(0, 100)}`,
    );
  }
  return downloadOf(transport, response, { startsAtBytes: range.startsAtBytes, signal: request.signal });
}

async function refusalOf(
  transport: Transport,
  response: Dispatcher.ResponseData,
  request: DownloadRequest,
): Promise<Failure> {
  const { imageId } = request;
  const status = response.statusCode;
  const text = await readErrorText(response);
  if (status === 204) return new Failure('ImageNotActive', { imageId, status: 'without data' });
  if (status === 403)
    return new Failure('ImageNotActive', { imageId, status: "deactivated, or its data is not this project's to read" });
  if (status === 416) return imageChanged(request, `no byte ${request.offsetBytes}`);
  if (status < 400) return unavailable(transport, `it answers ${status} to a download`);
  return failureOfStatus({ service: transport.service, method: 'GET', status, text, imageId });
}

function downloadOf(
  transport: Transport,
  response: Dispatcher.ResponseData,
  { startsAtBytes, signal }: { startsAtBytes: number; signal: AbortSignal | undefined },
): Download {
  return { startsAtBytes, lengthBytes: parseLength(response), body: typedBody(transport, response, signal) };
}

/** The body's bytes; a cut or a silence is a `Failure`, the caller's abort its reason. */
async function* typedBody(
  transport: Transport,
  response: Dispatcher.ResponseData,
  signal: AbortSignal | undefined,
): AsyncGenerator<Buffer> {
  try {
    yield* response.body as AsyncIterable<Buffer>;
  } catch (error) {
    signal?.throwIfAborted();
    throw failureOfNetwork(transport.service, error);
  }
}

function parseContentRange(
  header: string | string[] | undefined,
): { startsAtBytes: number; sizeBytes: number } | undefined {
  const match = typeof header === 'string' ? /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15})$/.exec(header.trim()) : null;
  return match ? { startsAtBytes: Number(match[1]), sizeBytes: Number(match[2]) } : undefined;
}

function parseLength(response: Dispatcher.ResponseData): number | undefined {
  const header = response.headers['content-length'];
  return typeof header === 'string' && /^\d{1,15}$/.test(header) ? Number(header) : undefined;
}

function imageChanged({ imageId, expectedBytes }: DownloadRequest, found: string): Failure {
  return new Failure('ImageChanged', { imageId, found, allowed: `${expectedBytes} bytes` });
}

function unavailable({ service }: Transport, cause: string): Failure {
  return new Failure('ImageServiceUnavailable', { service, cause });
}
