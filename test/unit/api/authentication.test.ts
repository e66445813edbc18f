import type { FastifyRequest } from 'fastify';
import type { Identity } from '../../../activities/keystone/identity';
import type { TokenValidation } from '../../../activities/keystone/validate-token';
import { askKeystone, trustPath } from '../../../api/authentication';

const valid: TokenValidation = { userId: 'u', projectId: 'p', roles: ['member'], expiresAtMs: Infinity };
const asked: string[] = [];
const answers: Record<string, TokenValidation> = {
  user: valid,
  nova: { ...valid, roles: ['service'] },
  somebody: { ...valid, roles: ['admin'] },
  'of-no-project': { ...valid, projectId: undefined },
  ending: { ...valid, expiresAtMs: 0 },
};
const identity: Pick<Identity, 'service' | 'validateToken'> = {
  service: 'http://keystone/v3',
  validateToken: async (token) => {
    asked.push(token.reveal());
    return answers[token.reveal()] ?? 'invalid';
  },
};
const authenticate = askKeystone(identity, { cacheMs: 60_000 });
const ask = async (headers: Record<string, string>) => await authenticate({ headers } as unknown as FastifyRequest);

beforeEach(() => void asked.splice(0));

it('a token is asked for once for so long as the cache holds it, at once or one after the other', async () => {
  const headers = { 'x-auth-token': 'user' };
  const callers = await Promise.all([ask(headers), ask(headers)]);
  expect([...callers, await ask(headers)]).toEqual(
    Array.from({ length: 3 }, () => ({ projectId: 'p', userId: 'u', roles: ['member'], byService: false })),
  );
  expect(asked).toEqual(['user']);
});

it('a token that has ended is asked for anew, and so is one that was refused', async () => {
  for (const token of ['ending', 'ending']) await ask({ 'x-auth-token': token });
  for (const token of ['unknown', 'unknown'])
    await expect(ask({ 'x-auth-token': token })).rejects.toMatchObject({ status: 401 });
  expect(asked).toEqual(['ending', 'ending', 'unknown', 'unknown']);
});

it.each(['\u00ff\u00fe', 'a b', 'a\tb', 'x'.repeat(8193)])(
  'a token of odd bytes is 401 without a question',
  async (token) => {
    const headers = { 'www-authenticate': 'Keystone uri="http://keystone/v3"' };
    await expect(ask({ 'x-auth-token': token })).rejects.toMatchObject({ status: 401, headers });
    await expect(ask({ 'x-auth-token': 'user', 'x-service-token': token })).rejects.toMatchObject({ status: 401 });
    expect(asked).not.toContain(token);
  },
);

it('no token is 401, and one for no project 403', async () => {
  await expect(ask({})).rejects.toMatchObject({ status: 401 });
  await expect(ask({ 'x-auth-token': 'of-no-project' })).rejects.toMatchObject({ status: 403 });
});

it('a service is one by the role of its own token alone', async () => {
  const by = async (service: string) => (await ask({ 'x-auth-token': 'user', 'x-service-token': service })).byService;
  expect([await by('nova'), await by('somebody')]).toEqual([true, false]);
});

it('where nobody is asked for a token, a web page of somebody else is refused', async () => {
  const trust = async (headers: Record<string, string>) =>
    await trustPath('default')({ headers, params: { project_id: 'p' } } as unknown as FastifyRequest);
  expect(await trust({ host: '127.0.0.1:8776' })).toMatchObject({ projectId: 'p' });
  const foreign: Record<string, string>[] = [
    { host: 'evil.example:8776' },
    { host: 'localhost', origin: 'http://evil.example' },
  ];
  for (const headers of foreign) await expect(trust(headers)).rejects.toMatchObject({ status: 403 });
});
