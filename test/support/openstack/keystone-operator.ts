import { readFileSync } from 'node:fs';
import { z } from 'zod';

/** Requests of a cloud's operator to Keystone. Names are unique, and all is in the default domain. */
export interface KeystoneOperator {
  /** Projects, users and roles that exist are taken. @returns the ids. */
  ensureAccount(account: Account): Promise<{ userId: string; projectId: string }>;
  /** One endpoint of each interface. */
  addEndpoints(endpoint: { type: string; region: string; url: string }): Promise<void>;
  /** @returns the id of a credential of that user for that project. */
  createApplicationCredential(account: Omit<Account, 'roles'>, secret: string): Promise<string>;
  disable(kind: 'project' | 'user', id: string): Promise<void>;
  changePassword(userId: string, password: string): Promise<void>;
  revoke(token: string): Promise<void>;
  /** @returns how many tokens were given, by the server's log of requests. */
  countTokens(log: string): number;
}

interface Account {
  user: string;
  password: string;
  project: string;
  roles: string[];
}

const DOMAIN = { id: 'default' };
const REQUEST_TIMEOUT_MS = 30_000;
const OWN_TOKEN_MS = 10_000;
const identified = z.object({ id: z.string() });
const anything = z.unknown();

interface Call {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  path: string;
  body?: object;
  token?: string;
  headers?: Record<string, string>;
}

export function createKeystoneOperator(url: string, adminPassword: string): KeystoneOperator {
  const send = async ({ method, path, body, token, headers }: Call): Promise<Response> => {
    const answer = await fetch(`${url}${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...(token && { 'x-auth-token': token }), ...headers },
      ...(body && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    if (!answer.ok) throw new Error(`Keystone answered ${answer.status} to ${method} ${path}: ${await answer.text()}`);
    return answer;
  };
  const logIn = async ({ user, password, project }: Omit<Account, 'roles'>) => {
    const scope = { project: { name: project, domain: DOMAIN } };
    const identity = { methods: ['password'], password: { user: { name: user, password, domain: DOMAIN } } };
    const answer = await send({ method: 'POST', path: '/auth/tokens', body: { auth: { identity, scope } } });
    const body = z.object({ token: z.object({ user: identified }) }).parse(await answer.json());
    return { token: answer.headers.get('x-subject-token') ?? '', userId: body.token.user.id };
  };
  let own: { token: string; until: number } | undefined;
  /** As the administrator, whose token is used for a short while: they live shortly here. */
  const getToken = async (): Promise<string> => {
    if (own !== undefined && performance.now() < own.until) return own.token;
    const { token } = await logIn({ user: 'admin', password: adminPassword, project: 'admin' });
    own = { token, until: performance.now() + OWN_TOKEN_MS };
    return token;
  };
  const call = async <Answer>(schema: z.ZodType<Answer>, request: Call): Promise<Answer> => {
    const token = await getToken();
    const answer = await send({ token, ...request });
    const text = await answer.text();
    return schema.parse(text === '' ? undefined : JSON.parse(text));
  };
  const ensure = async (kind: 'project' | 'user' | 'role' | 'service', name: string, more: object): Promise<string> => {
    const many = z.object({ [`${kind}s`]: z.array(identified) });
    const found = (await call(many, { method: 'GET', path: `/${kind}s?name=${name}` }))[`${kind}s`]?.[0];
    if (found !== undefined) return found.id;
    const one = z.object({ [kind]: identified });
    const made = await call(one, { method: 'POST', path: `/${kind}s`, body: { [kind]: { name, ...more } } });
    return made[kind]?.id ?? '';
  };

  return {
    async ensureAccount({ user, password, project, roles }) {
      const projectId = await ensure('project', project, { domain_id: DOMAIN.id });
      const userId = await ensure('user', user, { domain_id: DOMAIN.id, password });
      for (const role of roles) {
        const path = `/projects/${projectId}/users/${userId}/roles/${await ensure('role', role, {})}`;
        await call(anything, { method: 'PUT', path });
      }
      return { userId, projectId };
    },
    async addEndpoints({ type, region, url: address }) {
      const { regions } = await call(z.object({ regions: z.array(identified) }), { method: 'GET', path: '/regions' });
      if (!regions.some(({ id }) => id === region))
        await call(anything, { method: 'POST', path: '/regions', body: { region: { id: region } } });
      const service = await ensure('service', type, { type });
      for (const name of ['public', 'internal', 'admin']) {
        const endpoint = { interface: name, region_id: region, service_id: service, url: address };
        await call(anything, { method: 'POST', path: '/endpoints', body: { endpoint } });
      }
    },
    async createApplicationCredential(account, secret) {
      const { token, userId } = await logIn(account);
      const path = `/users/${userId}/application_credentials`;
      const body = { application_credential: { name: account.user, secret } };
      const one = z.object({ application_credential: identified });
      return one.parse(await (await send({ method: 'POST', path, body, token })).json()).application_credential.id;
    },
    disable: async (kind, id) =>
      void (await call(anything, { method: 'PATCH', path: `/${kind}s/${id}`, body: { [kind]: { enabled: false } } })),
    changePassword: async (userId, password) =>
      void (await call(anything, { method: 'PATCH', path: `/users/${userId}`, body: { user: { password } } })),
    revoke: async (token) =>
      void (await call(anything, { method: 'DELETE', path: '/auth/tokens', headers: { 'x-subject-token': token } })),
    countTokens: (log) => readFileSync(log, 'utf8').split('"POST /v3/auth/tokens HTTP/1.1" 201').length - 1,
  };
}
