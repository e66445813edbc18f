import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { findForeignPage } from '../lib/foreign-page';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

export interface LoopbackServerOptions {
  server?: ServerOptions;
  /** Where an operator has said that others may ask: a request may name any host. */
  anyHost?: boolean;
  onRequest: Answer;
  /** Answers what comes from a web page of somebody else, with 403 and the reason; default: as plain text. */
  onRefused?: (request: IncomingMessage, response: ServerResponse, why: string) => void;
}

/**
 * The one way in which this product serves HTTP: to programs of this host, which need no credentials. A browser runs
 * other people's programs on this host too, so what it sends on behalf of a page is refused: by a name that only points
 * here (DNS rebinding), or from a page of another origin.
 */
export function createLoopbackServer({
  server = {},
  anyHost = false,
  onRequest,
  onRefused = refuse,
}: LoopbackServerOptions): Server {
  return createServer(server, (request, response) => {
    const why = findForeignPage(request.headers, { anyHost });
    if (why === undefined) onRequest(request, response);
    else onRefused(request, response, why);
  });
}

/** @param port 0: any free one. @returns the server's URL. @throws Error when the address is in use. */
export async function listen(
  server: Server,
  { host = '127.0.0.1', port }: { host?: string; port: number },
): Promise<string> {
  server.listen({ host, port });
  await once(server, 'listening');
  const bound = server.address() as AddressInfo;
  return `http://${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`;
}

/** Requests that are still being answered get no answer. */
export async function close(server: Server): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve));
  server.closeAllConnections();
  await closed;
}

function refuse(_: IncomingMessage, response: ServerResponse, why: string): void {
  response.writeHead(403, { 'content-type': 'text/plain; charset=utf-8' }).end(`${why}\n`);
}
