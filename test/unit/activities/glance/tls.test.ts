import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createGlanceClient } from '../../../../activities/glance/client';
import { openIdentity } from '../../../../activities/keystone/identity';
import { makeCertificates } from '../../../support/machine/certificates';

const ID = '0b3f8f0e-6c1a-4a53-9f5b-0d9a4f6a2c11';
const times = { created_at: '2026-01-01T00:00:00Z', updated_at: '2026-01-01T00:00:00Z' };
const BYTES = Buffer.from('the bytes');
const token = {
  issued_at: '2026-01-01T00:00:00.000000Z',
  expires_at: '2026-01-01T01:00:00.000000Z',
  user: { id: 'u', name: 'ivc', domain: { id: 'default' } },
};

let directory: string;
let path: (name: string) => string;
let server: Server;
let sent: (string | undefined)[];

/** Image service and Keystone in one: only who speaks to whom matters. */
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'ivc-https-'));
  path = makeCertificates(join(directory, 'certificates'));
  server = createServer(
    { cert: readFileSync(path('server.crt')), key: readFileSync(path('server.key')) },
    (request, response) => {
      sent.push(request.headers['x-auth-token']?.toString());
      request.resume();
      if (request.method === 'POST')
        return response.writeHead(201, { 'x-subject-token': 'the-token' }).end(JSON.stringify({ token }));
      if (request.url?.endsWith('/file')) return response.writeHead(200, { 'content-length': BYTES.length }).end(BYTES);
      return response.end(JSON.stringify({ id: ID, status: 'active', size: BYTES.length, ...times }));
    },
  ).listen(0, 'localhost');
  await once(server, 'listening');
});
beforeEach(() => (sent = []));
afterAll(() => {
  server.closeAllConnections();
  server.close();
  rmSync(directory, { recursive: true });
});

/** Authenticates, reads a record and downloads, all by what `tls` says of certificates. @returns the bytes. */
async function use(tls: { cacert?: string; insecure?: boolean }): Promise<Buffer> {
  const url = `https://localhost:${(server.address() as AddressInfo).port}`;
  const identity = openIdentity({ authUrl: url, userId: 'u', ...tls }, { OS_PASSWORD: 'p' });
  const images = createGlanceClient({ endpoint: url, getToken: identity.getToken, tls: identity.tls });
  try {
    await images.getImage(ID);
    const room = Buffer.alloc(BYTES.length);
    const sink = { room: () => room, filled: () => undefined, awaitRoom: async () => undefined };
    expect(await images.downloadInto?.({ imageId: ID, offsetBytes: 0, expectedBytes: BYTES.length }, sink)).toBe(true);
    return room;
  } finally {
    await images.close();
    await identity.close();
  }
}

it('a certificate that nobody vouches for is refused, and nothing was sent', async () => {
  await expect(use({})).rejects.toMatchObject({ type: 'IdentityUnavailable' });
  await expect(use({ cacert: path('other-ca.crt') })).rejects.toMatchObject({ type: 'IdentityUnavailable' });
  expect(sent).toEqual([]);
});

it.each([
  ['the bundle that is named vouches for it', () => ({ cacert: path('ca.crt') })],
  ['it is said that it need not be verified', () => ({ insecure: true })],
])('a certificate is taken where %s', async (_where, tls) => {
  expect((await use(tls())).equals(BYTES)).toBe(true);
  expect(sent).toEqual([undefined, 'the-token', 'the-token']);
});

it('an image service is refused by its certificate like Keystone', async () => {
  const url = `https://localhost:${(server.address() as AddressInfo).port}`;
  const images = createGlanceClient({ endpoint: url, tls: { ca: readFileSync(path('other-ca.crt'), 'utf8') } });
  const room = Buffer.alloc(BYTES.length);
  const sink = { room: () => room, filled: () => undefined, awaitRoom: async () => undefined };
  const request = { imageId: ID, offsetBytes: 0, expectedBytes: BYTES.length };
  await expect(images.getImage(ID)).rejects.toMatchObject({ type: 'ImageServiceUnavailable' });
  await expect(images.downloadInto?.(request, sink)).rejects.toMatchObject({ type: 'ImageServiceUnavailable' });
  expect(sent).toEqual([]);
  await images.close();
});
