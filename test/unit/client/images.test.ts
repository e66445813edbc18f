import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectImages, detectDiskFormat, type ImageCatalog } from '../../../client/images';
import { MiB } from '../../../workflows/contract/bytes';
import { startTestImageService, type TestImageService } from '../../support/glance/image-service';

const SIZE_BYTES = 2 * MiB + 5;

let directory: string;
let service: TestImageService;
let images: ImageCatalog;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'catalog-'));
  service = await startTestImageService(join(directory, 'images'));
  images = connectImages(`${service.url}/v2`);
  path = join(directory, 'debian-12.img');
  await writeFile(path, randomBytes(SIZE_BYTES));
});

afterEach(async () => {
  await images.close();
  await service.stop();
  await rm(directory, { recursive: true, force: true });
});

describe('the image catalogue', () => {
  it('uploads a file by its name and format, and says how far it is', async () => {
    const reported: number[] = [];
    const image = await images.upload(path, { onProgress: ({ bytesDone }) => reported.push(bytesDone) });
    expect(image).toMatchObject({
      name: 'debian-12',
      status: 'active',
      diskFormat: 'raw',
      containerFormat: 'bare',
      sizeBytes: SIZE_BYTES,
    });
    expect(reported.at(-1)).toBe(SIZE_BYTES);
  });

  it('uploads with what the caller says', async () => {
    const image = await images.upload(path, {
      name: 'mine',
      minDiskGiB: 2,
      tags: ['x'],
      properties: { os_distro: 'debian' },
    });
    expect(await images.getImage(image.id)).toMatchObject({
      name: 'mine',
      minDiskGiB: 2,
      tags: ['x'],
      properties: { os_distro: 'debian' },
    });
  });

  it('takes the record away again when the bytes did not arrive', async () => {
    const controller = new AbortController();
    const upload = images.upload(path, {
      signal: controller.signal,
      onProgress: () => controller.abort(new Error('stopped')),
    });
    await expect(upload).rejects.toThrow('stopped');
    expect((await images.listImages()).images).toEqual([]);
  });

  it('knows a qcow2 file by its first bytes, and nothing else', async () => {
    await writeFile(path, Buffer.from('QFI\xfb and more', 'latin1'));
    expect(await detectDiskFormat(path)).toBe('qcow2');
    for (const content of ['QFI', '', 'KDMV']) {
      await writeFile(path, content);
      expect(await detectDiskFormat(path)).toBe('raw');
    }
  });

  it('lists page by page', async () => {
    const ids: string[] = [];
    for (let count = 0; count < 3; count += 1)
      ids.push((await images.createImage({ name: 'one', diskFormat: 'raw', containerFormat: 'bare' })).id);
    const first = await images.listImages({ name: 'one', limit: 2 });
    const second = await images.listImages({ name: 'one', limit: 2, marker: first.nextMarker });
    expect([...first.images, ...second.images].map(({ id }) => id)).toEqual(ids.toReversed());
    expect(second.nextMarker).toBeUndefined();
  });

  it('counts downloads where the service does', async () => {
    const { id } = await images.upload(path);
    expect(await images.countDownloads(id)).toBe(0);
    await (await fetch(`${service.url}/v2/images/${id}/file`)).arrayBuffer();
    expect(await images.countDownloads(id)).toBe(1);
  });

  it('says null for downloads that the service does not count', async () => {
    const other = createServer((_request, response) => response.writeHead(404).end()).listen(0, '127.0.0.1');
    await once(other, 'listening');
    const elsewhere = connectImages(`http://127.0.0.1:${(other.address() as AddressInfo).port}`);
    expect(await elsewhere.countDownloads(randomUUID())).toBeNull();
    await elsewhere.close();
    other.closeAllConnections();
    other.close();
  });

  it('says what is wrong as an ImageVolumeCacheError with its exit code', async () => {
    await expect(images.getImage(randomUUID())).rejects.toMatchObject({
      name: 'ImageVolumeCacheError',
      type: 'ImageNotFound',
      exitCode: 3,
    });
    await expect(images.getImage('../x')).rejects.toMatchObject({ type: 'ImageNotFound' });
    await expect(images.createImage({ diskFormat: 'nonsense', containerFormat: 'bare' })).rejects.toMatchObject({
      type: 'InvalidRequest',
      exitCode: 2,
    });
    await service.stop();
    await expect(images.getImage(randomUUID())).rejects.toMatchObject({ type: 'ImageServiceUnavailable', exitCode: 5 });
    expect(() => connectImages('http://user:password@glance')).toThrow('images.endpoint');
  });
});
