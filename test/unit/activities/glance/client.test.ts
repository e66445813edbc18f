import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createGlanceClient, type GlanceClientOptions } from '../../../../activities/glance/client';
import type { ImageService } from '../../../../activities/glance/image-service';
import { Secret } from '../../../../lib/secret';
import { Failure } from '../../../../workflows/contract/failures';

const ID = '0b3f8f0e-6c1a-4a53-9f5b-0d9a4f6a2c11';
const RECORD = {
  id: ID,
  status: 'active',
  size: 10,
  created_at: '2026-01-01T00:00:00Z',
  updated_at: '2026-01-01T00:00:00Z',
};

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

let server: Server;
let requests: IncomingMessage[];
let connections: Socket[];
let answers: Answer[];
const clients: ImageService[] = [];

/** A server at the wire: answers each request with the next answer, and the last one again and again. */
beforeEach(async () => {
  requests = [];
  connections = [];
  answers = [];
  server = createServer((request, response) => {
    requests.push(request);
    request.resume();
    (answers.length > 1 ? answers.shift() : answers[0])?.(request, response);
  });
  server.on('connection', (socket) => connections.push(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await Promise.all(clients.splice(0).map((client) => client.close()));
});

function endpoint(): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function connect(options: Partial<GlanceClientOptions> = {}): ImageService {
  const client = createGlanceClient({ endpoint: endpoint(), ...options });
  clients.push(client);
  return client;
}

const json =
  (body: unknown, status = 200): Answer =>
  (_request, response) =>
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));

const status =
  (code: number, headers: Record<string, string> = {}, text = ''): Answer =>
  (_request, response) =>
    response.writeHead(code, headers).end(text);

async function collect(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

const download = (client: ImageService, offsetBytes = 0) =>
  client.openDownload({ imageId: ID, offsetBytes, expectedBytes: 10 });

describe('the Glance client', () => {
  describe('reading a record', () => {
    it('takes one request, and connections are used again', async () => {
      answers = [json(RECORD)];
      const client = connect();
      for (let count = 0; count < 5; count += 1) await client.getImage(ID);
      expect(requests.map(({ method, url }) => `${method} ${url}`)).toEqual(
        Array.from({ length: 5 }, () => `GET /v2/images/${ID}`),
      );
      // A second one is opened when the first has just ended its answer.
      expect(connections.length).toBeLessThanOrEqual(2);
    });

    it('turns foreign JSON into an Image: unknown texts are properties, places of bytes are not', async () => {
      const foreign = {
        os_distro: 'debian',
        stores: 'fs',
        direct_url: 'file:///x',
        self: '/v2',
        nested: { a: 1 },
        checksum: 'ABC',
        os_hash_value: 'DEF',
      };
      answers = [json({ ...RECORD, ...foreign })];
      const image = await connect().getImage(ID);
      expect(image.properties).toEqual({ os_distro: 'debian' });
      expect(image).toMatchObject({
        checksum: 'abc',
        hashValue: 'def',
        name: null,
        tags: [],
        minDiskGiB: 0,
        virtualSizeBytes: null,
      });
    });

    it.each([
      { what: 'no JSON', answer: status(200, {}, '<html>'), cause: 'no JSON' },
      { what: 'a record without a status', answer: json({ ...RECORD, status: undefined }), cause: 'status' },
      { what: 'a negative size', answer: json({ ...RECORD, size: -1 }), cause: 'size' },
      {
        what: 'another image',
        answer: json({ ...RECORD, id: '0b3f8f0e-6c1a-4a53-9f5b-0d9a4f6a2c12' }),
        cause: 'answers with image',
      },
      { what: 'a redirect', answer: status(302, { location: '/' }), cause: '302' },
    ])('refuses $what as ImageServiceUnavailable', async ({ answer, cause }) => {
      answers = [answer];
      const failure: unknown = await connect()
        .getImage(ID)
        .catch((error: unknown) => error);
      expect(failure).toMatchObject({
        type: 'ImageServiceUnavailable',
        details: { service: endpoint(), cause: expect.stringContaining(cause) },
      });
    });

    it.each([
      ['none where the service does not say', {}, []],
      ['its direct URL', { direct_url: 'rbd://a/b/c/snap' }, ['rbd://a/b/c/snap']],
      ['each once', { direct_url: 'x', locations: [{ url: 'x', metadata: {} }, { url: 'y' }] }, ['x', 'y']],
      ['none that is longer than a location is', { locations: [{ url: 'x'.repeat(1001) }] }, []],
      [
        'a bounded number',
        { locations: Array.from({ length: 30 }, (_none, url) => ({ url: `${url}` })) },
        { length: 20 },
      ],
    ])('tells locations: %s', async (_title, fields, expected) => {
      answers = [json({ ...RECORD, ...fields }), status(404)];
      expect(await connect().listLocations(ID)).toMatchObject(expected);
    });

    it.each([
      { answer: json([{ url: 'cinder://a', metadata: {} }, { url: 'cinder://a' }]), expected: ['cinder://a'] },
      { answer: json([]), expected: [] },
      { answer: json({ told: 'otherwise' }), expected: [] },
      { answer: status(403), expected: [] },
      { answer: status(405), expected: [] },
    ])('asks by the call for services where records show none: $expected', async ({ answer, expected }) => {
      answers = [json(RECORD), answer];
      expect(await connect().listLocations(ID)).toEqual(expected);
      expect(requests[1]).toMatchObject({ method: 'GET', url: `/v2/images/${ID}/locations` });
    });

    it('reads no answer without end', async () => {
      answers = [
        (_request, response) => {
          const more = (): void => {
            while (!response.destroyed && response.write(Buffer.alloc(1 << 20, 32)));
          };
          response.on('drain', more);
          response.writeHead(200);
          more();
        },
      ];
      await expect(connect().getImage(ID)).rejects.toMatchObject({
        details: { cause: expect.stringContaining('longer than') },
      });
    });

    it.each([
      [403, 'ImageNotFound'],
      [404, 'ImageNotFound'],
      [410, 'ImageNotFound'],
      [400, 'InvalidRequest'],
      [401, 'ImageServiceUnavailable'],
      [500, 'ImageServiceUnavailable'],
      [502, 'ImageServiceUnavailable'],
    ])('takes %i as %s', async (code, type) => {
      answers = [status(code)];
      await expect(connect().getImage(ID)).rejects.toMatchObject({ type });
      expect(requests).toHaveLength(1);
    });

    it('tells an image that is forbidden from one that is not there', async () => {
      answers = [status(403), status(404)];
      await expect(connect().getImage(ID)).rejects.toMatchObject({ details: { imageId: ID, forbidden: true } });
      const absent = await connect()
        .getImage(ID)
        .catch((error: unknown) => error);
      expect((absent as { details: object }).details).toEqual({ imageId: ID });
    });

    it('sends nothing for an id that cannot be one', async () => {
      for (const id of ['', '..', `${ID}/file`, `${ID}?x`])
        await expect(connect().getImage(id)).rejects.toMatchObject({ type: 'ImageNotFound' });
      expect(requests).toHaveLength(0);
    });

    it('shows what the service says, without its HTML', async () => {
      answers = [
        status(
          409,
          {},
          '<html><head><title>409 Conflict</title></head><body><h1>409 Conflict</h1>\n  It is  in use<br /><br />\n</body></html>',
        ),
      ];
      await expect(connect().deleteImage(ID)).rejects.toMatchObject({
        type: 'InvalidRequest',
        details: { allowed: 'It is in use' },
      });
    });
  });

  describe('adding a location', () => {
    const { signal } = new AbortController();
    const location = { imageId: ID, url: 'rbd://f/images/i/snap', hashAlgorithm: 'sha512', hashValue: 'ab', signal };
    const shown = (fields: object): Answer => json({ ...RECORD, ...fields });
    const locked = shown({ status: 'queued', os_glance_import_task: 't' });

    it('patches the record, and tells nothing of a refusal’s text, which has the URL', async () => {
      const refusals = [status(400, {}, location.url), status(500, {}, location.url), status(409)];
      answers = [json(RECORD), ...refusals.flatMap((refusal) => [refusal, shown({ status: 'queued', locations: [] })])];
      const client = connect();
      expect(await client.addLocation(location)).toBe('added');
      expect(requests[0]).toMatchObject({ method: 'PATCH', url: `/v2/images/${ID}` });
      for (const told of ['unreadable', 'unreadable', 'refused']) expect(await client.addLocation(location)).toBe(told);
      answers = [status(502, {}, location.url)];
      const error: unknown = await client.addLocation(location).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ type: 'ImageServiceUnavailable' });
      expect(JSON.stringify(error)).not.toContain('rbd:');
    });

    it.each([400, 500, 409])(
      'takes a place that the record shows for added, whatever is answered: %i',
      async (code) => {
        answers = [status(code), shown({ locations: [{ url: location.url, metadata: {} }] })];
        expect(await connect().addLocation(location)).toBe('added');
      },
    );

    it.each([
      {
        what: 'what the service has read',
        given: [status(202), locked, shown({ status: 'importing' }), shown({})],
        told: 'added',
      },
      {
        what: 'what the service could not read',
        given: [status(202), locked, shown({ status: 'queued' })],
        told: 'unreadable',
      },
      {
        what: 'what an earlier call has told',
        given: [status(409), shown({ status: 'importing' }), shown({})],
        told: 'added',
      },
      { what: 'what another is told of', given: [status(409), shown({ status: 'queued' })], told: 'refused' },
      { what: 'a call that is not there', given: [status(404)], told: 'refused' },
      { what: 'a call that is not there', given: [status(405)], told: 'refused' },
    ])('asks by the call for services where records take none: $what is $told', async ({ given, told }) => {
      answers = [status(403), ...given];
      expect(await connect().addLocation(location)).toBe(told);
      expect(requests[1]).toMatchObject({ method: 'POST', url: `/v2/images/${ID}/locations` });
      expect(requests).toHaveLength(given.length + 1);
    });

    it('says that the image is gone', async () => {
      answers = [status(404)];
      await expect(connect().addLocation(location)).rejects.toMatchObject({ type: 'ImageNotFound' });
    });
  });

  describe('when the service is busy', () => {
    it.each([429, 503])('asks again after a %i as late as Retry-After says', async (code) => {
      answers = [status(code, { 'retry-after': '1' }), json(RECORD)];
      const startedMs = performance.now();
      expect(await connect().getImage(ID)).toMatchObject({ id: ID });
      expect(performance.now() - startedMs).toBeGreaterThanOrEqual(990);
      expect(requests).toHaveLength(2);
    });

    it('asks a bounded number of times', async () => {
      answers = [status(503, { 'retry-after': '0' })];
      await expect(connect().getImage(ID)).rejects.toMatchObject({ type: 'ImageServiceUnavailable' });
      expect(requests).toHaveLength(4);
    });

    it('does not wait longer than a call may take', async () => {
      answers = [status(503, { 'retry-after': '3600' })];
      await expect(connect().getImage(ID)).rejects.toMatchObject({ type: 'ImageServiceUnavailable' });
      expect(requests).toHaveLength(1);
    });
  });

  describe('when the network fails', () => {
    it('asks again when a connection was closed while it was idle', async () => {
      answers = [json(RECORD), (request) => request.socket.destroy(), json(RECORD)];
      const client = connect();
      await client.getImage(ID);
      expect(await client.getImage(ID)).toMatchObject({ id: ID });
      expect(requests).toHaveLength(3);
    });

    it('says that nobody listens', async () => {
      const client = connect();
      server.close();
      await expect(client.getImage(ID)).rejects.toMatchObject({
        type: 'ImageServiceUnavailable',
        details: { cause: expect.stringContaining('ECONNREFUSED') },
      });
    });

    it('ends a call that is not answered in time', async () => {
      answers = [() => undefined];
      await expect(connect({ timeouts: { metadataMs: 100 } }).getImage(ID)).rejects.toMatchObject({
        details: { cause: 'no answer within 100 ms' },
      });
    });

    it('ends with the reason of the caller’s abort', async () => {
      const controller = new AbortController();
      answers = [() => controller.abort(new Error('cancelled'))];
      await expect(connect().getImage(ID, controller.signal)).rejects.toThrow('cancelled');
    });
  });

  describe('opening a download', () => {
    it('asks for the rest only, and takes it from exactly there', async () => {
      answers = [status(206, { 'content-range': 'bytes 4-9/10', 'content-length': '6' }, '456789')];
      const { startsAtBytes, lengthBytes, body } = await download(connect(), 4);
      expect([startsAtBytes, lengthBytes, await collect(body)]).toEqual([4, 6, '456789']);
      expect(requests[0]?.headers.range).toBe('bytes=4-');
    });

    it('sends no range from the start', async () => {
      answers = [status(200, { 'content-length': '10' }, '0123456789')];
      await collect((await download(connect())).body);
      expect(requests[0]?.headers.range).toBeUndefined();
    });

    it('takes 200 to a range as the whole from its start', async () => {
      answers = [status(200, {}, '0123456789')];
      const { startsAtBytes, lengthBytes, body } = await download(connect(), 4);
      expect([startsAtBytes, lengthBytes, await collect(body)]).toEqual([0, undefined, '0123456789']);
    });

    it('does without a range where the store cannot seek', async () => {
      answers = [status(400), status(200, {}, '0123456789')];
      expect((await download(connect(), 4)).startsAtBytes).toBe(0);
      expect(requests.map(({ headers }) => headers.range)).toEqual(['bytes=4-', undefined]);
    });

    it.each(['bytes 0-9/10', 'bytes 5-9/10', 'bytes 3-9/10', 'bytes 4-9/*', 'items 4-9/10', ''])(
      'refuses a 206 whose Content-Range is "%s"',
      async (range) => {
        answers = [status(206, range === '' ? {} : { 'content-range': range }, 'x')];
        await expect(download(connect(), 4)).rejects.toMatchObject({
          type: 'ImageServiceUnavailable',
          details: { cause: expect.stringContaining('Content-Range') },
        });
      },
    );

    it('refuses a 206 of an image that has another size now', async () => {
      answers = [status(206, { 'content-range': 'bytes 4-10/11' }, 'x')];
      await expect(download(connect(), 4)).rejects.toMatchObject({
        type: 'ImageChanged',
        details: { found: '11 bytes', allowed: '10 bytes' },
      });
    });

    it.each([
      [204, 'ImageNotActive'],
      [403, 'ImageNotActive'],
      [404, 'ImageNotFound'],
      [416, 'ImageChanged'],
      [429, 'ImageServiceUnavailable'],
      [503, 'ImageServiceUnavailable'],
    ])('takes %i as %s', async (code, type) => {
      answers = [status(code)];
      await expect(download(connect(), 4)).rejects.toMatchObject({ type });
    });

    it('says that a body was cut', async () => {
      answers = [
        (_request, response) => {
          response.writeHead(200, { 'content-length': '10' });
          response.write('0123', () => response.destroy());
        },
      ];
      const { body } = await download(connect());
      await expect(collect(body)).rejects.toMatchObject({
        type: 'ImageServiceUnavailable',
        details: { cause: 'the connection was cut' },
      });
    });

    it('says that a body stalls', async () => {
      answers = [(_request, response) => void response.writeHead(200, { 'content-length': '10' }).write('0123')];
      const { body } = await download(connect({ timeouts: { bodyIdleMs: 100 } }));
      await expect(collect(body)).rejects.toMatchObject({
        type: 'ImageServiceUnavailable',
        details: { cause: 'the answer stalled' },
      });
    });
  });

  describe('with a token', () => {
    it('sends it, and asks for another when it is rejected', async () => {
      answers = [status(401), json(RECORD)];
      const first = new Secret('first');
      const rejected: (Secret | undefined)[] = [];
      const client = connect({
        getToken: async (old) => {
          rejected.push(old);
          return old === undefined ? first : new Secret('second');
        },
      });
      expect(await client.getImage(ID)).toMatchObject({ id: ID });
      expect(requests.map(({ headers }) => headers['x-auth-token'])).toEqual(['first', 'second']);
      expect(rejected).toEqual([undefined, first]);
    });

    it('keeps it out of errors', async () => {
      answers = [status(500)];
      const failure: unknown = await connect({ getToken: async () => new Secret('secret-token') })
        .getImage(ID)
        .catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(Failure);
      expect(JSON.stringify(failure) + String(failure)).not.toContain('secret-token');
    });
  });

  describe('an endpoint', () => {
    it.each(['', '/', '/v2', '/v2/', '/v2.15', '/v2.15/'])('may end in "%s"', async (suffix) => {
      answers = [json(RECORD)];
      const client = connect({ endpoint: `${endpoint()}/image${suffix}` });
      await client.getImage(ID);
      expect(requests[0]?.url).toBe(`/image/v2/images/${ID}`);
      expect(client.endpoint).toBe(`${endpoint()}/image`);
    });

    it.each(['ftp://glance', 'glance:9292', 'not a url', 'http://user:password@glance'])(
      '%s is refused, without its credentials',
      (given) => {
        const error = (() => {
          try {
            return createGlanceClient({ endpoint: given });
          } catch (thrown) {
            return thrown;
          }
        })();
        expect(error).toMatchObject({ type: 'InvalidRequest', details: { field: 'images.endpoint' } });
        expect(String(error)).not.toContain('password');
      },
    );
  });
});
