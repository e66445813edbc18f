import type { IncomingMessage, ServerResponse } from 'node:http';
import { note } from '../../../client/cli/output/print';
import { KiB } from '../../../workflows/contract/bytes';
import { close, createLoopbackServer, listen } from '../../loopback-server';
import { openCatalog } from './catalog';
import { createCounters } from './counters';
import { createFaults } from './faults';
import { sendError } from './http';
import { HttpError } from './http';
import type { Service } from './exchange';
import { route } from './routes';

export interface ImageServiceOptions {
  /** Holds the images; made when absent, and found again by the next start. */
  directory: string;
  /** A loopback address; the service has no authentication. */
  host?: string;
  /** 0 or absent: any free one. */
  port?: number;
  /** Whether tests may inject faults at `/admin/faults`. */
  faults?: boolean;
}

export interface RunningImageService {
  url: string;
  /** Closes the connections; an upload that runs is queued again. */
  stop(): Promise<void>;
}

const HEADERS_LIMIT_BYTES = 16 * KiB;
const HEADERS_TIMEOUT_MS = 15_000;
const KEEP_ALIVE_MS = 60_000;
/** A connection over which nothing moves for so long is closed. */
const IDLE_TIMEOUT_MS = 120_000;
/** A refused upload may still send for so long. */
const REFUSED_BODY_MS = 30_000;

const loopback = new Set(['127.0.0.1', '::1', 'localhost']);

/**
 * A small local image service that speaks a subset of the OpenStack Image API v2. @throws Error when the address is in
 * use or no loopback one.
 */
export async function startImageService({
  directory,
  host = '127.0.0.1',
  port = 0,
  faults = false,
}: ImageServiceOptions): Promise<RunningImageService> {
  if (!loopback.has(host))
    throw new Error(`host: got ${host}, allowed is a loopback address: ${[...loopback].join(', ')}`);
  const service: Service = {
    catalog: await openCatalog(directory),
    counters: createCounters(),
    faults: faults ? createFaults() : undefined,
  };
  const running = new Set<Promise<void>>();
  const server = createLoopbackServer({
    server: {
      maxHeaderSize: HEADERS_LIMIT_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
    onRequest: (request, response) => {
      const answered = answer(service, request, response).finally(() => running.delete(answered));
      running.add(answered);
    },
    onRefused: (request, response, why) => {
      endRefusedBody(request);
      sendError(response, new HttpError(403, why));
    },
  });
  server.timeout = IDLE_TIMEOUT_MS;
  return {
    url: await listen(server, { host, port }),
    stop: async () => {
      await close(server);
      await Promise.all(running);
    },
  };
}

async function answer(service: Service, request: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    await route(service, { request, response });
  } catch (error) {
    if (response.headersSent || response.destroyed) return void response.destroy();
    if (!(error instanceof HttpError)) note(`image service: ${request.method ?? ''}: ${String(error)}`);
    endRefusedBody(request);
    sendError(
      response,
      error instanceof HttpError
        ? error
        : new HttpError(500, 'The server has either erred or is incapable of performing the requested operation.'),
    );
  }
}

/** Node reads and drops what is left of a refused upload, so that its sender sees the answer; not for ever. */
function endRefusedBody(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return;
  const timer = setTimeout(() => request.destroy(), REFUSED_BODY_MS);
  request.once('end', () => clearTimeout(timer));
  request.socket.once('close', () => clearTimeout(timer));
}
