import { startApi, type TestApi } from '../../support/stack/api';
import { openRawHttp, requestHead } from '../../support/machine/raw-http';
import { useStack } from '../../support/stack/flows';

const flow = useStack({ workers: [] });
const BODY_BYTES = 2048;
const PER_MINUTE = 20;
let api: TestApi;
beforeAll(async () => {
  const limits = {
    bodyBytes: `${BODY_BYTES}B`,
    headersTimeout: '1s',
    requestTimeout: '2s',
    requestsPerMinute: PER_MINUTE,
  };
  api = await startApi(flow.stack, { limits });
});
afterAll(() => api.stop());

/** @returns a body of so many bytes that no volume is made of. */
function bodyOf(bytes: number): object {
  const empty = JSON.stringify({ volume: { size: 0, name: '' } }).length;
  return { volume: { size: 0, name: 'x'.repeat(bytes - empty) } };
}

describe('a body', () => {
  it('of the longest size is read, and a byte more is 413 in the shape of Cinder', async () => {
    expect((await api.call('POST /v3/of-bodies/volumes', bodyOf(BODY_BYTES))).status).toBe(400);
    const { status, body, headers } = await api.call('POST /v3/of-bodies/volumes', bodyOf(BODY_BYTES + 1));
    expect(status).toBe(413);
    expect(body).toEqual({ overLimit: { code: 413, message: 'Request is too large.', retryAfter: '0' } });
    expect(headers.get('retry-after')).toBe('0');
  });

  it('that tells no length is counted as it comes', async () => {
    const connection = await openRawHttp(api.url);
    connection.say('POST /v3/of-bodies/volumes HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n');
    connection.say('transfer-encoding: chunked\r\n\r\n');
    const part = `{"volume":"${'x'.repeat(BODY_BYTES)}`;
    connection.say(`${part.length.toString(16)}\r\n${part}\r\n`);
    expect(await connection.hears(/overLimit/)).toMatch(/^HTTP\/1.1 413 /);
    connection.socket.destroy();
  });
});

describe('a client that is slow', () => {
  it('with the head of its request is told so, and its connection ends', async () => {
    const connection = await openRawHttp(api.url);
    connection.say('GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: ');
    expect(await connection.ended).toMatch(/^HTTP\/1.1 408 Request Timeout\r\n[^]*x-openstack-request-id: req-/);
  });

  it('with the body of its request likewise', async () => {
    const connection = await openRawHttp(api.url);
    connection.say(`${requestHead('POST /v3/of-the-slow/volumes', 100)}{"volume"`);
    expect(await connection.ended).toMatch(/^HTTP\/1.1 408 /);
  });

  it('keeps nobody else waiting', async () => {
    const slow = await Promise.all(Array.from({ length: 100 }, () => openRawHttp(api.url)));
    for (const connection of slow) connection.say('GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: ');
    expect((await api.call('GET /healthcheck')).status).toBe(200);
    expect(await Promise.all(slow.map(({ ended }) => ended))).toHaveLength(100);
  });
});

it('a head that is too long is 431', async () => {
  const connection = await openRawHttp(api.url);
  connection.say(`GET / HTTP/1.1\r\nhost: localhost\r\nx-long: ${'x'.repeat(20_000)}\r\n\r\n`);
  expect(await connection.ended).toMatch(/^HTTP\/1.1 431 /);
});

it('a key of metadata of the longest name is a path that is read', async () => {
  const { status } = await api.call(`GET /v3/of-keys/volumes/x/metadata/${encodeURIComponent('💾'.repeat(255))}`);
  expect(status).toBe(404);
});

it('a project may send so many requests a minute, and its next one is 429, whatever others send', async () => {
  const get = async (project: string) => await api.call(`GET /v3/${project}/limits`);
  for (let sent = 0; sent < PER_MINUTE; sent += 1) expect((await get('busy')).status).toBe(200);
  const { status, body, headers } = await get('busy');
  expect(status).toBe(429);
  const retryAfter = headers.get('retry-after');
  expect(Number(retryAfter)).toBeGreaterThan(0);
  expect(Number(retryAfter)).toBeLessThanOrEqual(60);
  expect(body).toEqual({ overLimit: { code: 429, message: expect.stringContaining('20 requests'), retryAfter } });
  expect((await get('quiet')).status).toBe(200);
  expect((await api.call('GET /v3/')).status).toBe(200);
});
