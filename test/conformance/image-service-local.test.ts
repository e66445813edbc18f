import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createGlanceClient } from '../../activities/glance/client';
import type { ImageService } from '../../activities/glance/image-service';
import { MiB } from '../../workflows/contract/bytes';
import { startImageService } from '../../worker/stack/image-service/server';
import { startTestImageService, type InjectedFault, type TestImageService } from '../support/glance/image-service';
import { endWithTest } from '../support/machine/test-process';

const SIZE_BYTES = 3 * MiB + 17;
const bytes = randomBytes(SIZE_BYTES);
const json = { 'content-type': 'application/json' };

let directory: string;
let service: TestImageService;
let images: ImageService;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'images-'));
  service = await startTestImageService(join(directory, 'images'));
  images = createGlanceClient({ endpoint: service.url });
});

afterEach(async () => {
  await images.close();
  await service.stop();
  await rm(directory, { recursive: true, force: true });
});

async function* wholeOf(data: Buffer): AsyncGenerator<Buffer> {
  yield data;
}

async function createActive(client: ImageService = images): Promise<string> {
  const { id } = await client.createImage({ name: 'sample', diskFormat: 'raw', containerFormat: 'bare' });
  await client.uploadImage({ imageId: id, body: wholeOf(bytes), sizeBytes: SIZE_BYTES });
  return id;
}

async function download(imageId: string, client: ImageService = images): Promise<Buffer> {
  const { body } = await client.openDownload({ imageId, offsetBytes: 0, expectedBytes: SIZE_BYTES });
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe('what the local image service refuses', () => {
  it.each([
    ['a name with a NUL', { name: 'a\0b' }, 'name'],
    ['half of a character in a tag', { tags: ['\ud800'] }, 'tags.0'],
    ['a property with a NUL', { hw_x: 'a\0' }, 'properties.hw_x'],
    ['the name of a property with a NUL', { 'hw_\0': 'a' }, 'properties.name of a property'],
  ])('is %s, which no database keeps', async (_, fields, field) => {
    const body = JSON.stringify({ disk_format: 'raw', container_format: 'bare', ...fields });
    const headers = { 'content-type': 'application/json' };
    const answer = await fetch(`${service.url}/v2/images`, { method: 'POST', headers, body });
    expect(answer.status).toBe(400);
    expect(await answer.text()).toContain(`${field}: text must be well-formed`);
    expect((await images.listImages()).images).toEqual([]);
  });
});

describe('the local image service on disk', () => {
  it('finds its images again after a restart, the newest first', async () => {
    const ids = [await createActive(), await createActive(), await createActive()];
    await images.deleteImage(ids[1] ?? '');
    await service.stop();
    service = await startTestImageService(join(directory, 'images'));
    const again = createGlanceClient({ endpoint: service.url });
    expect((await again.listImages()).images.map(({ id }) => id)).toEqual([ids[2], ids[0]]);
    expect((await download(ids[0] ?? '', again)).equals(bytes)).toBe(true);
    await expect(again.createImage({ id: ids[1], diskFormat: 'raw', containerFormat: 'bare' })).rejects.toMatchObject({
      type: 'InvalidRequest',
    });
    await again.close();
  });

  it('is for its owner alone', async () => {
    const id = await createActive();
    const root = join(directory, 'images');
    for (const path of [root, join(root, 'data'), join(root, 'records')])
      expect((await stat(path)).mode & 0o777).toBe(0o700);
    for (const path of [join(root, 'data', id), join(root, 'records', `${id}.json`)])
      expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('queues an upload again that a stop has cut, and leaves no part of it', async () => {
    const { id } = await images.createImage({ diskFormat: 'raw', containerFormat: 'bare' });
    const upload = httpRequest(`${service.url}/v2/images/${id}/file`, {
      method: 'PUT',
      headers: { 'content-type': 'application/octet-stream' },
    });
    upload.on('error', () => undefined);
    upload.write(Buffer.alloc(MiB));
    while ((await images.getImage(id)).status !== 'saving');
    await service.stop();
    service = await startTestImageService(join(directory, 'images'));
    const again = createGlanceClient({ endpoint: service.url });
    expect(await again.getImage(id)).toMatchObject({ status: 'queued' });
    expect(await readdir(join(directory, 'images', 'data'))).toEqual([]);
    await again.close();
  });

  it('removes at its start what a kill has left half-written', async () => {
    await service.stop();
    const part = join(directory, 'images', 'data', `${randomUUID()}.0a.part`);
    await writeFile(part, 'half');
    service = await startTestImageService(join(directory, 'images'));
    await expect(stat(part)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('answers 204 for a file that has vanished', async () => {
    const id = await createActive();
    await rm(join(directory, 'images', 'data', id));
    await expect(download(id)).rejects.toMatchObject({ type: 'ImageNotActive' });
  });
});

describe('the limits of the local image service', () => {
  it('reads no JSON without end', async () => {
    const body = JSON.stringify({ name: 'x'.repeat(MiB) });
    expect((await fetch(`${service.url}/v2/images`, { method: 'POST', headers: json, body })).status).toBe(413);
  });

  it('reads no headers without end', async () => {
    expect((await fetch(`${service.url}/v2/images`, { headers: { 'x-long': 'x'.repeat(20_000) } })).status).toBe(431);
  });

  it('listens on no address that others reach', async () => {
    await expect(startImageService({ directory, host: '0.0.0.0' })).rejects.toThrow('host: got 0.0.0.0');
  });

  it('keeps paths and records inside its directory', async () => {
    for (const path of ['/v2/images/..%2f..%2fetc%2fpasswd', '/v2/images/..%2frecords/file'])
      expect((await fetch(`${service.url}${path}`)).status).toBe(404);
    const answer = await fetch(`${service.url}/v2/images`, {
      method: 'POST',
      headers: json,
      body: '{"id": "../../x"}',
    });
    expect(answer.status).toBe(400);
  });

  it('injects no faults unless a test has switched them on', async () => {
    const plain = await startImageService({ directory: join(directory, 'plain') });
    const answer = await fetch(`${plain.url}/admin/faults`, { method: 'POST', body: '{"kind": "cut"}' });
    expect(answer.status).toBe(404);
    await plain.stop();
  });
});

describe('a web page of somebody else', () => {
  const record = JSON.stringify({ name: 'planted', disk_format: 'raw', container_format: 'bare' });
  const names = async () => (await images.listImages()).images.map(({ name }) => name);

  it.each([
    ['a form', { 'content-type': 'text/plain' }],
    ['a form without a type', {}],
    ['a script', { 'content-type': 'application/json' }],
  ])('makes no image with %s', async (_, headers: Record<string, string>) => {
    const path = '/v2/images';
    const own = await send({ method: 'POST', path, headers, body: record });
    expect(own.status).toBe(headers['content-type'] === 'application/json' ? 201 : 415);
    const pages: Record<string, string>[] = [
      { origin: 'http://evil.example' },
      { origin: 'null' },
      { 'sec-fetch-site': 'cross-site' },
    ];
    for (const page of pages)
      expect(await send({ method: 'POST', path, headers: { ...headers, ...page }, body: record })).toMatchObject({
        status: 403,
      });
    expect(await names()).toHaveLength(own.status === 201 ? 1 : 0);
  });

  it('neither reads nor deletes what it reaches by a name of its own', async () => {
    const id = await createActive();
    const headers = { host: 'evil.example:9292' };
    for (const [method, path] of [
      ['GET', '/v2/images'],
      ['GET', `/v2/images/${id}/file`],
      ['DELETE', `/v2/images/${id}`],
      ['GET', '/admin/counters'],
    ] as const)
      expect(await send({ method, path, headers })).toMatchObject({
        status: 403,
        text: expect.stringContaining('Host: got'),
      });
    expect((await download(id)).equals(bytes)).toBe(true);
  });

  it('sends no bytes, and hears so while it still sends them', async () => {
    const { id } = await images.createImage({ name: 'queued', diskFormat: 'raw', containerFormat: 'bare' });
    const headers = { origin: 'http://evil.example', 'content-type': 'application/octet-stream' };
    const answer = await send({ method: 'PUT', path: `/v2/images/${id}/file`, headers, body: bytes });
    expect(answer.status).toBe(403);
    expect((await images.getImage(id)).status).toBe('queued');
  });
});

/** As it is written: `fetch` chooses some of these headers itself. */
async function send(request: {
  method: string;
  path: string;
  headers: Record<string, string>;
  body?: string | Buffer;
}): Promise<{ status: number | undefined; text: string }> {
  const { method, path, headers, body } = request;
  const sent = httpRequest(`${service.url}${path}`, { method, headers });
  sent.end(body);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode, text: Buffer.concat(chunks).toString() };
}

describe('the counters of the local image service', () => {
  it('count records, downloads, ranges and bytes of each image', async () => {
    const id = await createActive();
    await images.getImage(id);
    await download(id);
    const { body } = await images.openDownload({ imageId: id, offsetBytes: MiB, expectedBytes: SIZE_BYTES });
    for await (const chunk of body) expect(chunk.length).toBeGreaterThan(0);
    expect(await service.counters(id)).toEqual({
      records: 1,
      downloads: 2,
      rangeRequests: 1,
      bytesServed: 2 * SIZE_BYTES - MiB,
    });
  });
});

describe('a fault of the local image service', () => {
  const faulty = async (fault: InjectedFault): Promise<string> => {
    const id = await createActive();
    await service.inject({ imageId: id, ...fault });
    return id;
  };

  it('strikes as often as it was told, and only its image', async () => {
    const other = await createActive();
    const id = await faulty({ kind: 'status-503', times: 2, retryAfterSeconds: 7 });
    expect((await download(other)).equals(bytes)).toBe(true);
    for (let count = 0; count < 2; count += 1) {
      const answer = await fetch(`${service.url}/v2/images/${id}/file`);
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([503, '7']);
    }
    expect((await download(id)).equals(bytes)).toBe(true);
  });

  it('that stalls a body cuts it when the faults are cleared', async () => {
    const id = await faulty({ kind: 'stall', afterBytes: 1234 });
    const { body } = await fetch(`${service.url}/v2/images/${id}/file`);
    const reader = body?.getReader();
    expect((await reader?.read())?.value).toHaveLength(1234);
    const next = reader?.read();
    await service.clearFaults();
    await expect(next).rejects.toMatchObject({ name: 'TypeError' });
  });

  it('can strike the record', async () => {
    const id = await faulty({ kind: 'status-503', on: 'record', retryAfterSeconds: 0 });
    expect(await images.getImage(id)).toMatchObject({ id });
    expect((await service.counters(id)).records).toBe(2);
  });

  it('can be taken back', async () => {
    const id = await faulty({ kind: 'cut', times: 100 });
    await service.clearFaults();
    expect((await download(id)).equals(bytes)).toBe(true);
  });

  it('cuts the body after exactly the bytes it was told', async () => {
    const id = await faulty({ kind: 'cut', afterBytes: 2 * MiB + 5 });
    const { body } = await images.openDownload({ imageId: id, offsetBytes: 0, expectedBytes: SIZE_BYTES });
    let received = 0;
    const read = async (): Promise<void> => {
      for await (const chunk of body) received += chunk.length;
    };
    await expect(read()).rejects.toMatchObject({ type: 'ImageServiceUnavailable' });
    expect(received).toBe(2 * MiB + 5);
  });

  it('inverts one byte', async () => {
    const id = await faulty({ kind: 'wrong-bytes', afterBytes: 1234 });
    const received = await download(id);
    expect(received.length).toBe(SIZE_BYTES);
    expect(received[1234]).toBe((bytes[1234] ?? 0) ^ 0xff);
  });
});

describe('the local image service as a process', () => {
  const main = resolve(__dirname, '../../dist/worker/stack/image-service/main.js');

  async function start(environment: NodeJS.ProcessEnv): Promise<{ child: ChildProcess; output: () => string }> {
    const child = endWithTest(spawn(process.execPath, [main], { env: environment, stdio: ['ignore', 'pipe', 'pipe'] }));
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await Promise.race([once(child.stdout, 'data'), once(child, 'close')]);
    return { child, output: () => output };
  }

  it.each(['SIGTERM', 'SIGINT'] as const)('says where it listens, and ends with 0 on %s', async (signal) => {
    const { child, output } = await start({ IVC_IMAGE_SERVICE_DIRECTORY: join(directory, 'own') });
    const [, url] = /^\{"listening":"(http:\/\/127\.0\.0\.1:\d+)"\}\n$/.exec(output()) ?? [];
    expect((await fetch(`${url}/v2/images`)).status).toBe(200);
    child.kill(signal);
    expect(await once(child, 'exit')).toEqual([0, null]);
  });

  it.each([
    { what: 'without a directory', environment: {}, says: 'IVC_IMAGE_SERVICE_DIRECTORY: got nothing' },
    {
      what: 'with a port that is none',
      environment: { IVC_IMAGE_SERVICE_PORT: '70000' },
      says: 'IVC_IMAGE_SERVICE_PORT: got 70000',
    },
    { what: 'on a public address', environment: { IVC_IMAGE_SERVICE_HOST: '0.0.0.0' }, says: 'host: got 0.0.0.0' },
  ])('ends with 1 and one line $what', async ({ what, environment, says }) => {
    const own = what === 'without a directory' ? {} : { IVC_IMAGE_SERVICE_DIRECTORY: join(directory, 'own') };
    const { child, output } = await start({ ...own, ...environment });
    if (child.exitCode === null) await once(child, 'exit');
    expect(child.exitCode).toBe(1);
    expect(output()).toMatch(new RegExp(`^image service: ${says}.*\n$`));
  });

  it('ends with 1 when the port is taken', async () => {
    const port = new URL(service.url).port;
    const { child, output } = await start({
      IVC_IMAGE_SERVICE_DIRECTORY: join(directory, 'own'),
      IVC_IMAGE_SERVICE_PORT: port,
    });
    if (child.exitCode === null) await once(child, 'exit');
    expect([child.exitCode, output()]).toEqual([1, expect.stringContaining('EADDRINUSE')]);
  });
});
