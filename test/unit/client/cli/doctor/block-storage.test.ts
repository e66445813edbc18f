import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkApi } from '../../../../../client/cli/doctor/block-storage';
import { resolveSettings, type Settings } from '../../../../../client/settings';
import { close, listen } from '../../../../../worker/loopback-server';
import { makeCertificates } from '../../../../support/machine/certificates';

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'ivc-doctor-api-'))));
afterEach(() => rmSync(directory, { recursive: true }));

/** @param url of the API of a stack that runs; undefined: none does. */
async function check(api: object, url?: string) {
  const config = join(directory, 'temporal.yaml');
  writeFileSync(config, JSON.stringify({ api }));
  const settings = resolveSettings({ config, dataDirectory: directory }, {});
  const endpoints = url === undefined ? undefined : ({ api: { url } } as Settings['endpoints']);
  return await checkApi({ settings: { ...settings, endpoints } });
}

it('tells where it would listen and for whom', async () => {
  expect(await check({})).toMatchObject({
    state: 'ok',
    found: expect.stringMatching(/everybody without a token on 127.0.0.1:8776/),
  });
});

it.each([
  ['nobody asks for tokens beyond this host', { listen: '0.0.0.0:8776' }, 'api.listen: got 0.0.0.0:8776'],
  ['there is no Keystone to ask', { auth: 'keystone' }, 'identity: got nothing'],
  ['a file is not there', { tls: { cert: '/nowhere.pem', key: '/nowhere.key' } }, 'api.tls.cert: got /nowhere.pem'],
])('is a fault where %s', async (_, api, found) => {
  expect(await check(api)).toMatchObject({ state: 'fault', found: expect.stringContaining(found) });
});

it('warns of a certificate that ends soon', async () => {
  const path = makeCertificates(join(directory, 'pem'));
  const tls = { cert: path('server.crt'), key: path('server.key') };
  expect(await check({ tls })).toMatchObject({ state: 'warning', found: expect.stringContaining('ends at') });
});

it('asks the API of a stack that runs', async () => {
  const server = createServer((request, response) =>
    response.writeHead(request.url === '/healthcheck' ? 200 : 404).end(),
  );
  const url = await listen(server, { port: 0 });
  expect(await check({}, url)).toMatchObject({ state: 'ok', found: expect.stringContaining(url) });
  await close(server);
  expect(await check({}, url)).toMatchObject({ state: 'fault', unavailable: true });
});
