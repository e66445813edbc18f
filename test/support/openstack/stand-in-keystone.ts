import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { close, listen } from '../../../worker/loopback-server';

/** So much of a Keystone that a service with an identity of its own goes to work where none is installed: it gives everybody a token. */
export interface StandInKeystone {
  /** Of its version 3. */
  url: string;
  stop(): Promise<void>;
}

const LIFE_MS = 3_600_000;

export async function startStandInKeystone(): Promise<StandInKeystone> {
  const server = createServer((request, response) => {
    request.resume();
    const given = request.method === 'POST' && request.url === '/v3/auth/tokens';
    const headers = { 'content-type': 'application/json', 'x-subject-token': randomUUID() };
    response.writeHead(given ? 201 : 404, headers).end(JSON.stringify({ token: describeToken() }));
  });
  const url = await listen(server, { port: 0 });
  return { url: `${url}/v3`, stop: async () => await close(server) };
}

function describeToken() {
  const named = (name: string) => ({ id: name, name, domain: { id: 'default', name: 'Default' } });
  const issuedAtMs = Date.now();
  return {
    issued_at: new Date(issuedAtMs).toISOString(),
    expires_at: new Date(issuedAtMs + LIFE_MS).toISOString(),
    user: named('ivc'),
    project: named('service'),
    roles: [named('image_volume_cache')],
  };
}
