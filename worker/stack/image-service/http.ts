import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http';
import { KiB } from '../../../workflows/contract/bytes';

/** Ends a request with this status; the message is for the caller. */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  constructor(
    readonly status: number,
    message: string,
    readonly headers: Record<string, string> = {},
  ) {
    super(message);
  }
}

const JSON_LIMIT_BYTES = 256 * KiB;

/** @returns the request's JSON body. @throws HttpError 400, 413. */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of readBody(request)) {
    bytes += chunk.length;
    if (bytes > JSON_LIMIT_BYTES)
      throw new HttpError(413, `A body of more than ${JSON_LIMIT_BYTES} bytes is not read.`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new HttpError(400, 'Malformed JSON in request body.');
  }
}

/**
 * @returns the request's bytes; leaving them early keeps the connection, so that the refusal still reaches the caller.
 */
export function readBody(request: IncomingMessage): AsyncIterable<Buffer> {
  return request.iterator({ destroyOnReturn: false });
}

export interface JsonAnswer {
  status?: number;
  headers?: Record<string, string>;
  body: unknown;
}

export function sendJson(response: ServerResponse, { status = 200, headers = {}, body }: JsonAnswer): void {
  const text = Buffer.from(JSON.stringify(body));
  response
    .writeHead(status, { ...headers, 'content-type': 'application/json', 'content-length': text.length })
    .end(text);
}

export function sendEmpty(response: ServerResponse, status = 204): void {
  response.writeHead(status, status === 204 ? {} : { 'content-length': 0 }).end();
}

/** Errors are the small HTML page that Glance sends, so that clients find the message where they expect it. */
export function sendError(response: ServerResponse, { status, message, headers }: HttpError): void {
  const title = `${status} ${STATUS_CODES[status] ?? ''}`;
  const page = `<html>\n <head>\n  <title>${title}</title>\n </head>\n <body>\n  <h1>${title}</h1>\n  ${escapeHtml(message)}<br /><br />\n </body>\n</html>`;
  const text = Buffer.from(page);
  response
    .writeHead(status, { ...headers, 'content-type': 'text/html; charset=UTF-8', 'content-length': text.length })
    .end(text);
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
