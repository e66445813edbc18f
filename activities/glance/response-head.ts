/** The first lines of an HTTP/1.1 answer. */
export interface ResponseHead {
  status: number;
  /** By lower-case name; undefined where a name comes twice. */
  headers: ReadonlyMap<string, string | undefined>;
}

const END_OF_HEAD = '\r\n\r\n';

/** @returns where the body begins in what has come so far; undefined while the head is not complete. */
export function findBody(received: Buffer): number | undefined {
  const end = received.indexOf(END_OF_HEAD);
  return end === -1 ? undefined : end + END_OF_HEAD.length;
}

/** @returns undefined for what is no head of HTTP/1.1. */
export function parseResponseHead(head: string): ResponseHead | undefined {
  const [statusLine = '', ...lines] = head.slice(0, -END_OF_HEAD.length).split('\r\n');
  const status = /^HTTP\/1\.1 (\d{3})(?: |$)/.exec(statusLine)?.[1];
  if (status === undefined) return undefined;
  const headers = new Map<string, string | undefined>();
  for (const line of lines) {
    const match = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*(.*?)[ \t]*$/.exec(line);
    const [, name, value] = match ?? [];
    if (name === undefined) return undefined;
    const key = name.toLowerCase();
    headers.set(key, headers.has(key) ? undefined : value);
  }
  return { status: Number(status), headers };
}
