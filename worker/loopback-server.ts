import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { quote } from '../workflows/contract/words';

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
    const why = findForeign(request, anyHost);
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

/** A browser's `Sec-Fetch-Site` for a page of this very origin, and for a person at the address bar. */
const OWN_SITES = ['same-origin', 'none'];

/**
 * @returns why the request counts as a web page's, for people; undefined: it does not. Programs send neither `Origin`
 * nor `Sec-Fetch-Site`; a page can
 *   leave out neither, nor choose its `Host`. Source: Fetch and Fetch Metadata, "forbidden request-header".
 */
function findForeign({ headers }: IncomingMessage, anyHost: boolean): string | undefined {
  const { host = '', origin } = headers;
  if (!anyHost && !isLoopback(host))
    return `Host: got ${quote(host)}, allowed is a name or address of this host: localhost, 127.0.0.1 or [::1]`;
  if (origin !== undefined && origin.toLowerCase() !== `http://${host.toLowerCase()}`)
    return `Origin: got ${quote(origin)}, allowed is none: other web pages may not use this service`;
  const site = headers['sec-fetch-site'];
  if (site !== undefined && !OWN_SITES.includes(site))
    return `Sec-Fetch-Site: got ${quote(site)}, allowed is ${OWN_SITES.join(' or ')}: other web pages may not use this service`;
  return undefined;
}

/** A name that resolves to a loopback address is not enough: its owner lets it resolve to what he likes. */
function isLoopback(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i.test(host);
}

function refuse(_: IncomingMessage, response: ServerResponse, why: string): void {
  response.writeHead(403, { 'content-type': 'text/plain; charset=utf-8' }).end(`${why}\n`);
}
