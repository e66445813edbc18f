import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { close, listen } from '../../../worker/loopback-server';

/** So much of a Keystone that a service with an identity of its own goes to work where none is installed: it gives everybody a token, and lets nobody look up projects. */
export interface StandInKeystone {
  /** Of its version 3. */
  url: string;
  /** How it answers from now on who looks up a project. */
  answerProjects(answer: { status: number; body?: object }): void;
  /** How often that was. */
  lookups(): number;
  stop(): Promise<void>;
}

const LIFE_MS = 3_600_000;

/** @param compute where its catalogue has a compute service: in so many regions. */
export async function startStandInKeystone({
  compute = [],
}: { compute?: readonly string[] } = {}): Promise<StandInKeystone> {
  let projects: { status: number; body?: object } = { status: 403 };
  let lookups = 0;
  const server = createServer((request, response) => {
    request.resume();
    if (request.url?.startsWith('/v3/projects/')) {
      lookups += 1;
      response
        .writeHead(projects.status, { 'content-type': 'application/json' })
        .end(JSON.stringify(projects.body ?? {}));
      return;
    }
    if (request.url === '/v3/auth/catalog') {
      const catalog = compute.length > 0 ? [{ type: 'compute', endpoints: compute.map(endpointAt) }] : [];
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ catalog }));
      return;
    }
    const given = request.method === 'POST' && request.url === '/v3/auth/tokens';
    const headers = { 'content-type': 'application/json', 'x-subject-token': randomUUID() };
    response.writeHead(given ? 201 : 404, headers).end(JSON.stringify({ token: describeToken() }));
  });
  const url = await listen(server, { port: 0 });
  return {
    url: `${url}/v3`,
    answerProjects: (answer) => (projects = answer),
    lookups: () => lookups,
    stop: async () => await close(server),
  };
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

function endpointAt(url: string, index: number) {
  return { interface: 'public', region: `region-${index}`, url };
}
