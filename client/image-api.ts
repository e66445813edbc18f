import { Readable } from 'node:stream';
import { Pool } from 'undici';
import type { z } from 'zod';
import { MiB } from '../workflows/contract/bytes';
import { failureError, type ImageVolumeCacheError } from './errors';

export interface ApiRequest {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  path: string;
  /** The image that is spoken of, for messages. */
  imageId?: string;
  body?: string | AsyncIterable<Buffer>;
  sizeBytes?: number;
  contentType?: string;
  signal?: AbortSignal;
}

/** HTTP to one image service. Every failure is an `ImageVolumeCacheError`; the caller's abort is thrown as its reason. */
export interface ImageApi {
  readonly endpoint: string;
  /** @returns the parsed answer. */
  read<Schema extends z.ZodType>(schema: Schema, request: ApiRequest): Promise<z.output<Schema>>;
  /** As `read`; undefined where the service has no such path. */
  find<Schema extends z.ZodType>(schema: Schema, request: ApiRequest): Promise<z.output<Schema> | undefined>;
  /** For what has no answer but its status. */
  send(request: ApiRequest): Promise<void>;
  close(): Promise<void>;
}

const CONNECTIONS = 16;
const CONNECT_TIMEOUT_MS = 5_000;
/** Also between an upload's last byte and its answer. */
const HEADERS_TIMEOUT_MS = 300_000;
const METADATA_TIMEOUT_MS = 30_000;
const ANSWER_LIMIT_BYTES = 16 * MiB;

/** @throws ImageVolumeCacheError InvalidRequest for what is no http URL. */
export function connectImageApi(given: string): ImageApi {
  const { endpoint, origin, basePath } = parseEndpoint(given);
  const pool = new Pool(origin, {
    connections: CONNECTIONS,
    connect: { timeout: CONNECT_TIMEOUT_MS },
    headersTimeout: HEADERS_TIMEOUT_MS,
    bodyTimeout: METADATA_TIMEOUT_MS,
  });

  async function ask({
    method,
    path,
    body,
    sizeBytes,
    contentType,
    signal,
  }: ApiRequest): Promise<{ status: number; text: string }> {
    try {
      const response = await pool.request({
        method,
        path: `${basePath}${path}`,
        headers: { 'content-type': contentType, 'content-length': sizeBytes?.toString() },
        body: typeof body === 'object' ? Readable.from(body, { objectMode: false }) : body,
        headersTimeout: typeof body === 'object' ? HEADERS_TIMEOUT_MS : METADATA_TIMEOUT_MS,
        signal,
      });
      return { status: response.statusCode, text: await readText(response.body) };
    } catch (error) {
      signal?.throwIfAborted();
      throw unavailable(endpoint, error instanceof Error ? error.message : String(error));
    }
  }

  async function askFor(request: ApiRequest): Promise<{ status: number; text: string }> {
    const answer = await ask(request);
    if (answer.status >= 400) throw refusalError(endpoint, request, answer);
    return answer;
  }

  return {
    endpoint,
    read: async (schema, request) => parseAnswer(schema, (await askFor(request)).text, endpoint),
    find: async (schema, request) => {
      const answer = await ask(request);
      if (answer.status === 404) return undefined;
      if (answer.status >= 400) throw refusalError(endpoint, request, answer);
      return parseAnswer(schema, answer.text, endpoint);
    },
    send: async (request) => void (await askFor(request)),
    close: () => pool.close(),
  };
}

/** Service catalogues name the endpoint with or without its version. */
function parseEndpoint(given: string): { endpoint: string; origin: string; basePath: string } {
  const url = URL.canParse(given) ? new URL(given) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '') {
    const value = url === undefined ? given : `${url.protocol}//${url.host}`;
    throw failureError('InvalidRequest', {
      field: 'images.endpoint',
      value,
      allowed: 'an http or https URL without credentials',
    });
  }
  const basePath = url.pathname.replace(/\/+$/, '').replace(/\/v2(\.\d+)?$/, '');
  return { endpoint: `${url.origin}${basePath}`, origin: url.origin, basePath };
}

interface Answer {
  status: number;
  text: string;
}

function refusalError(
  service: string,
  { imageId = 'a new image' }: ApiRequest,
  { status, text }: Answer,
): ImageVolumeCacheError {
  const said = messageOf(text);
  if (status === 404 || status === 410) return failureError('ImageNotFound', { imageId });
  if (status === 429 || status >= 500 || status === 401)
    return unavailable(service, `it answers ${status}${said === '' ? '' : `: ${said}`}`);
  return failureError('InvalidRequest', {
    field: 'image',
    value: imageId,
    allowed: said || `what ${service} accepts (it answers ${status})`,
  });
}

function unavailable(service: string, cause: string): ImageVolumeCacheError {
  return failureError('ImageServiceUnavailable', { service, cause });
}

function parseAnswer<Schema extends z.ZodType>(schema: Schema, text: string, service: string): z.output<Schema> {
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    throw unavailable(
      service,
      `its answer is not what an image service sends: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

async function readText(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > ANSWER_LIMIT_BYTES) throw new Error(`the answer is longer than ${ANSWER_LIMIT_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

const MESSAGE_LENGTH = 300;

/** Errors are a small HTML page whose last paragraph says what is wrong. */
function messageOf(text: string): string {
  const body = text.replace(/^[\s\S]*<\/h1>/, '').replace(/<[^>]*>/g, ' ');
  return body.replace(/\s+/g, ' ').trim().slice(0, MESSAGE_LENGTH);
}
