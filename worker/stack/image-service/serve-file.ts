import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { pipeline } from 'node:stream/promises';
import { MiB } from '../../../workflows/contract/bytes';
import type { Counters } from './counters';
import { slowly, strike, type StrikingFault } from './faults';
import { sendEmpty } from './http';
import { HttpError } from './http';
import { parseRange, type ByteRange } from './range';
import type { RecordedImage } from './record';

const READ_BYTES = MiB;
const FLUSH_POLL_MS = 1;
const ENDLESS_CHUNK = Buffer.alloc(64 * 1024);

export interface ServeFile {
  image: RecordedImage;
  path: string;
  counters: Counters;
  fault: StrikingFault | undefined;
}

/**
 * `GET /v2/images/{id}/file`: whole or one range. Queued, or its file vanished: 204. @throws HttpError 400, 403
 * (deactivated), 416, 503 (fault).
 */
export async function serveFile(
  request: IncomingMessage,
  response: ServerResponse,
  { image, path, counters, fault }: ServeFile,
): Promise<void> {
  const { range: rangeHeader } = request.headers;
  counters.add(image.id, { downloads: 1, rangeRequests: rangeHeader === undefined ? 0 : 1 });
  strike(fault);
  if (image.status === 'deactivated')
    throw new HttpError(403, 'The requested image has been deactivated. Image data download is forbidden.');
  if (image.size === null || !(await exists(path))) return sendEmpty(response);
  const range = parseRange(fault?.kind === 'no-range' ? undefined : rangeHeader, image.size);
  writeHead(response, { image, range, fault });
  const { start, end } = range ?? { start: 0, end: image.size - 1 };
  if (end < start) return void response.end();
  const count = (bytes: number): void => counters.add(image.id, { bytesServed: bytes });
  await sendBody(response, { chunks: createReadStream(path, { start, end, highWaterMark: READ_BYTES }), fault, count });
}

function writeHead(
  response: ServerResponse,
  { image, range, fault }: { image: RecordedImage; range?: ByteRange; fault?: StrikingFault },
): void {
  const sizeBytes = image.size ?? 0;
  const wholeBytes = range === undefined ? sizeBytes : range.end - range.start + 1;
  const length = fault?.kind === 'wrong-length' ? fault.afterBytes : wholeBytes;
  response.writeHead(range === undefined ? 200 : 206, {
    'content-type': 'application/octet-stream',
    'content-md5': image.checksum ?? '',
    ...(fault?.kind === 'endless' ? {} : { 'content-length': length }),
    ...(range === undefined ? {} : { 'content-range': `bytes ${range.start}-${range.end}/${sizeBytes}` }),
  });
}

interface Body {
  chunks: AsyncIterable<Buffer>;
  fault: StrikingFault | undefined;
  count: (bytes: number) => void;
}

/** Sends the bytes with the fault worked in; a client that goes away ends it quietly. */
async function sendBody(response: ServerResponse, { chunks, fault, count }: Body): Promise<void> {
  const counted = async function* (source: AsyncIterable<Buffer>) {
    for await (const chunk of fault === undefined ? source : slowly(spoil(source, { fault, response }), fault)) {
      count(chunk.length);
      yield chunk;
    }
  };
  try {
    await pipeline(chunks, counted, response);
  } catch (error) {
    if (!response.destroyed) throw error;
  }
}

async function* spoil(
  source: AsyncIterable<Buffer>,
  { fault, response }: { fault: StrikingFault; response: ServerResponse },
): AsyncGenerator<Buffer> {
  const { kind, afterBytes, untilCleared } = fault;
  let sent = 0;
  for await (const chunk of source) {
    const left = afterBytes - sent;
    const isHere = left <= chunk.length;
    sent += chunk.length;
    if (kind === 'wrong-bytes' && left >= 0 && left < chunk.length)
      chunk.writeUInt8(chunk.readUInt8(left) ^ 0xff, left);
    if (!isHere || kind === 'wrong-bytes' || kind === 'endless' || kind === 'no-range' || kind === 'slow') {
      yield chunk;
      continue;
    }
    yield chunk.subarray(0, left);
    if (kind === 'wrong-length') return;
    await flushed(response);
    if (kind === 'stall') await Promise.race([closed(response), untilCleared]);
    response.destroy();
    return;
  }
  if (kind !== 'endless') return;
  while (!response.destroyed) yield ENDLESS_CHUNK;
}

/** Resolves when what was written has left for the connection. */
async function flushed(response: ServerResponse): Promise<void> {
  while (response.writableLength > 0 && !response.destroyed) await delay(FLUSH_POLL_MS);
}

async function closed(response: ServerResponse): Promise<void> {
  if (!response.destroyed) await new Promise((resolve) => response.once('close', resolve));
}

async function exists(path: string): Promise<boolean> {
  try {
    await (await open(path, 'r')).close();
    return true;
  } catch {
    return false;
  }
}
