import { z } from 'zod';
import type { ApiAnswer } from '../stack/api';

/** Requests of one of a cloud's users, with their token. */
export interface CloudUser {
  /** @param request such as `GET /volumes/ID`. */
  volumes: (request: string, body?: object) => Promise<Pick<ApiAnswer, 'status' | 'body'>>;
  compute: (request: string, body?: object) => Promise<Pick<ApiAnswer, 'status' | 'body'>>;
}

export interface CloudAccount {
  user: string;
  password: string;
  project: string;
}

/** Microversions: of what is asked last in a rebuild of a server whose root is a volume, and of our API. */
const COMPUTE = 'compute 2.93';
const VOLUME = 'volume 3.70';
const REQUEST_TIMEOUT_MS = 60_000;

const endpoints = z.array(z.object({ interface: z.string(), region: z.string(), url: z.string() }));
const tokenSchema = z.object({ token: z.object({ catalog: z.array(z.object({ type: z.string(), endpoints })) }) });

export async function logInToCloud(
  { keystoneUrl, region }: { keystoneUrl: string; region: string },
  { user, password, project }: CloudAccount,
): Promise<CloudUser> {
  const domain = { id: 'default' };
  const scope = { project: { name: project, domain } };
  const identity = { methods: ['password'], password: { user: { name: user, password, domain } } };
  const login = await fetch(`${keystoneUrl}/auth/tokens`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ auth: { identity, scope } }),
  });
  const { catalog } = tokenSchema.parse(await login.json()).token;
  const token = login.headers.get('x-subject-token') ?? '';
  const asker = (type: string, version: string): CloudUser['volumes'] => {
    const own = catalog.find((service) => service.type === type)?.endpoints ?? [];
    const base = own.find((endpoint) => endpoint.interface === 'public' && endpoint.region === region)?.url;
    return async (request, body) => {
      const [method, path = ''] = request.split(' ');
      const answer = await fetch(`${base}${path}`, {
        method,
        headers: { 'x-auth-token': token, 'content-type': 'application/json', 'openstack-api-version': version },
        ...(body && { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      const text = await answer.text();
      return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) };
    };
  };
  return { volumes: asker('volumev3', VOLUME), compute: asker('compute', COMPUTE) };
}
