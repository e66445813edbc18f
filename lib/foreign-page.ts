import type { IncomingHttpHeaders } from 'node:http';

/** A browser's `Sec-Fetch-Site` for a page of this very origin, and for a person at the address bar. */
const OWN_SITES = ['same-origin', 'none'];
const MAX_QUOTED_CHARACTERS = 200;

/**
 * A browser runs other people's programs on this host: a request on behalf of a page comes by a name that only points here (DNS rebinding), or from
 * a page of another origin.
 * @param anyHost where others may ask than programs of this host: a request may name any.
 * @returns why a request without credentials counts as a web page's, for people; undefined: it does not. Programs send neither `Origin` nor
 * `Sec-Fetch-Site`; a page can leave out neither, nor choose its `Host`. Source: Fetch and Fetch Metadata, "forbidden request-header".
 */
export function findForeignPage(headers: IncomingHttpHeaders, { anyHost = false } = {}): string | undefined {
  const { host = '', origin } = headers;
  if (!anyHost && !isLoopback(host))
    return `Host: got ${quoted(host)}, allowed is a name or address of this host: localhost, 127.0.0.1 or [::1]`;
  if (origin !== undefined && origin.toLowerCase().replace(/^https?:\/\//, '') !== host.toLowerCase())
    return `Origin: got ${quoted(origin)}, allowed is none: other web pages may not use this service`;
  const site = headers['sec-fetch-site'];
  if (site !== undefined && !OWN_SITES.includes(site))
    return `Sec-Fetch-Site: got ${quoted(site)}, allowed is ${OWN_SITES.join(' or ')}: other web pages may not use this service`;
  return undefined;
}

/** A name that resolves to a loopback address is not enough: its owner lets it resolve to what he likes. */
function isLoopback(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i.test(host);
}

function quoted(text: string): string {
  return JSON.stringify(text.slice(0, MAX_QUOTED_CHARACTERS));
}
