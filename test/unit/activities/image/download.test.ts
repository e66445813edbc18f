import { createHash, randomBytes } from 'node:crypto';
import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createGlanceClient } from '../../../../activities/glance/client';
import type { ImageService } from '../../../../activities/glance/image-service';
import { downloadImage, type DownloadedImage } from '../../../../activities/image/download';
import type { Progress } from '../../../../activities/progress';
import { MiB } from '../../../../workflows/contract/bytes';
import type { Image } from '../../../../workflows/contract/image';
import { defaultImagePolicy, type ImagePolicy } from '../../../../activities/image/policy';
import { patched, qcow2Image } from '../../../support/images/image-fixtures';
import { startTestImageService, type TestImageService } from '../../../support/glance/image-service';

const SIZE_BYTES = 9 * MiB + 123;
const bytes = randomBytes(SIZE_BYTES);

let directory: string;
let service: TestImageService;
let images: ImageService;
let image: Image;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'download-'));
  service = await startTestImageService(join(directory, 'images'));
  images = createGlanceClient({ endpoint: service.url, timeouts: { bodyIdleMs: 300, headersMs: 1000 } });
  const { id } = await images.createImage({ name: 'sample', diskFormat: 'raw', containerFormat: 'bare' });
  await images.uploadImage({ imageId: id, body: chunksOf(bytes), sizeBytes: SIZE_BYTES });
  image = await images.getImage(id);
  path = join(directory, 'file');
});

afterEach(async () => {
  await images.close();
  await service.stop();
  await rm(directory, { recursive: true, force: true });
});

async function* chunksOf(all: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < all.length; at += MiB) yield all.subarray(at, at + MiB);
}

interface Run {
  signal?: AbortSignal;
  onReport?: (progress: Progress) => void;
  attempts?: number;
  policy?: ImagePolicy;
}

function download({
  signal = new AbortController().signal,
  onReport = () => undefined,
  attempts,
  policy,
}: Run = {}): Promise<DownloadedImage> {
  return downloadImage({
    images,
    image,
    path,
    policy,
    reporter: { signal, report: onReport },
    limits: { backoffMs: 1, ...(attempts === undefined ? {} : { attempts }) },
  });
}

async function expectWhole(): Promise<void> {
  expect((await readFile(path)).equals(bytes)).toBe(true);
}

describe('downloadImage', () => {
  it('brings the bytes with one request and says how far it is', async () => {
    const reports: Progress[] = [];
    const downloaded = await download({ onReport: (progress) => reports.push(progress) });
    expect(downloaded).toMatchObject({ bytes: SIZE_BYTES, bytesDownloaded: SIZE_BYTES });
    await expectWhole();
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await service.counters(image.id)).toMatchObject({ downloads: 1, rangeRequests: 0 });
    expect(reports.at(-1)).toMatchObject({ stage: 'downloading', bytesDone: SIZE_BYTES, bytesTotal: SIZE_BYTES });
    expect(reports.at(-1)?.summary).toMatch(/^downloading 9\.0 MiB of 9\.0 MiB/);
  });

  it('goes on after a cut from the byte that is on disk, so that each byte comes once', async () => {
    await service.inject({ kind: 'cut', afterBytes: 5 * MiB + 7 });
    await service.inject({ kind: 'cut', afterBytes: 2 * MiB });
    expect(await download()).toMatchObject({ bytesDownloaded: SIZE_BYTES });
    await expectWhole();
    expect(await service.counters(image.id)).toMatchObject({ downloads: 3, rangeRequests: 2 });
  });

  it('takes over what an earlier attempt left on disk', async () => {
    await writeFile(path, bytes.subarray(0, 6 * MiB + 1));
    expect(await download()).toMatchObject({ bytesDownloaded: SIZE_BYTES - 6 * MiB - 1 });
    await expectWhole();
  });

  it('only verifies a file that is complete', async () => {
    await writeFile(path, bytes);
    expect(await download()).toMatchObject({ bytesDownloaded: 0 });
    expect(await service.counters(image.id)).toMatchObject({ downloads: 0 });
  });

  it('starts over when more is on disk than the image has', async () => {
    await writeFile(path, bytes);
    await appendFile(path, 'more');
    expect(await download()).toMatchObject({ bytesDownloaded: SIZE_BYTES });
    await expectWhole();
  });

  it('starts over once when what is on disk has other bytes', async () => {
    await writeFile(path, randomBytes(MiB));
    expect(await download()).toMatchObject({ bytes: SIZE_BYTES });
    await expectWhole();
  });

  it('goes on when a body stalls', async () => {
    await service.inject({ kind: 'stall', afterBytes: MiB });
    expect(await download()).toMatchObject({ bytesDownloaded: SIZE_BYTES });
    await expectWhole();
  });

  it('goes on when a body ends too early though it is well formed', async () => {
    await service.inject({ kind: 'wrong-length', afterBytes: MiB });
    expect(await download()).toMatchObject({ bytesDownloaded: SIZE_BYTES });
    await expectWhole();
  });

  it('leaves a body that goes on after the image is complete', async () => {
    await service.inject({ kind: 'endless' });
    expect(await download()).toMatchObject({ bytes: SIZE_BYTES });
    await expectWhole();
  });

  it('does without ranges where the service has none', async () => {
    await service.inject({ kind: 'cut', afterBytes: 3 * MiB });
    // A download that finds the range ignored asks once more, by the general road.
    await service.inject({ kind: 'no-range', times: 2 });
    expect(await download()).toMatchObject({ bytesDownloaded: SIZE_BYTES + 3 * MiB });
    await expectWhole();
  });

  it('waits and asks again when the service is busy', async () => {
    await service.inject({ kind: 'status-503', times: 2, retryAfterSeconds: 0 });
    expect(await download()).toMatchObject({ bytesDownloaded: SIZE_BYTES });
    await expectWhole();
  });

  it('starts over once when the hash is wrong', async () => {
    await service.inject({ kind: 'wrong-bytes', afterBytes: 4 * MiB });
    expect(await download()).toMatchObject({ bytesDownloaded: 2 * SIZE_BYTES });
    await expectWhole();
  });

  it('fails as TransferCorrupt when the hash is wrong again, and leaves no bytes that a later attempt would trust', async () => {
    await service.inject({ kind: 'wrong-bytes', afterBytes: 4 * MiB, times: 2 });
    await expect(download()).rejects.toMatchObject({
      type: 'TransferCorrupt',
      details: { imageId: image.id, allowed: image.hashValue },
    });
    expect((await service.counters(image.id)).downloads).toBe(2);
    expect((await stat(path)).size).toBe(0);
  });

  it('gives up as ImageServiceUnavailable after a bounded number of failures without progress, and the next call goes on', async () => {
    await service.inject({ kind: 'cut', afterBytes: 2 * MiB });
    await service.inject({ kind: 'cut', afterBytes: 0, times: 2 });
    await expect(download({ attempts: 3 })).rejects.toMatchObject({ type: 'ImageServiceUnavailable' });
    expect((await service.counters(image.id)).downloads).toBe(3);
    expect(await download()).toMatchObject({ bytesDownloaded: SIZE_BYTES - 2 * MiB });
    await expectWhole();
  });

  it('refuses to go on when the image was deactivated or deleted meanwhile', async () => {
    await writeFile(path, bytes.subarray(0, MiB));
    await images.deactivate(image.id);
    await expect(download()).rejects.toMatchObject({ type: 'ImageNotActive', details: { status: 'deactivated' } });
    await images.deleteImage(image.id);
    await expect(download()).rejects.toMatchObject({ type: 'ImageNotFound' });
  });

  it('refuses to go on when the record promises other bytes than the pinned one', async () => {
    await writeFile(path, bytes.subarray(0, MiB));
    image = { ...image, hashValue: createHash('sha512').update('other').digest('hex') };
    await expect(download()).rejects.toMatchObject({ type: 'ImageChanged' });
  });

  it('verifies by md5 where the record has nothing better', async () => {
    image = { ...image, hashAlgorithm: null, hashValue: null };
    await download();
    image = { ...image, checksum: createHash('md5').update('other').digest('hex') };
    await rm(path);
    await expect(download()).rejects.toMatchObject({ type: 'TransferCorrupt' });
  });

  it('refuses an image without any hash', async () => {
    image = { ...image, hashAlgorithm: null, hashValue: null, checksum: null };
    await expect(download()).rejects.toMatchObject({ type: 'ImageUnsupported' });
  });

  it('ends with the reason of an abort and keeps what it has', async () => {
    const controller = new AbortController();
    await service.inject({ kind: 'stall', afterBytes: 3 * MiB });
    const running = download({
      signal: controller.signal,
      onReport: ({ bytesDone = 0 }) => {
        if (bytesDone > 0) controller.abort(new Error('cancelled'));
      },
    });
    await expect(running).rejects.toThrow('cancelled');
    expect((await stat(path)).size).toBeGreaterThan(0);
    await download();
    await expectWhole();
  });
});

describe('downloadImage of an image that is judged while it comes', () => {
  const qcow2 = Buffer.concat([qcow2Image(), Buffer.alloc(3 * MiB)]);
  const policy = defaultImagePolicy;
  const upload = async (content: Buffer, diskFormat: string): Promise<void> => {
    const { id } = await images.createImage({ name: 'judged', diskFormat, containerFormat: 'bare' });
    await images.uploadImage({ imageId: id, body: chunksOf(content), sizeBytes: content.length });
    image = await images.getImage(id);
  };
  const expectQcow2 = async () => expect((await readFile(path)).equals(qcow2)).toBe(true);

  it('starts over when first bytes that it refuses came damaged', async () => {
    await upload(qcow2, 'qcow2');
    await service.inject({ kind: 'wrong-bytes', afterBytes: 0 });
    expect(await download({ policy })).toMatchObject({ bytes: qcow2.length });
    await expectQcow2();
    expect(await service.counters(image.id)).toMatchObject({ downloads: 2 });
  });

  it.each([
    ['zeros', () => Buffer.alloc(2 * MiB)],
    ['flipped bits', () => qcow2.subarray(0, 2 * MiB).map((byte) => byte ^ 0xff)],
  ])('throws away what is on disk when its first bytes are %s, and downloads once', async (_what, damaged) => {
    await upload(qcow2, 'qcow2');
    await writeFile(path, damaged());
    expect(await download({ policy })).toMatchObject({ bytesDownloaded: qcow2.length });
    await expectQcow2();
  });

  it('tells of a refusal that the image service sends twice, without the rest, and does not say that the bytes are the image', async () => {
    await upload(Buffer.concat([qcow2, randomBytes(64 * MiB)]), 'raw');
    const refused = await download({ policy }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ type: 'ImageRefused', details: { rule: 'declared-format-mismatch' } });
    expect(refused).not.toHaveProperty('details.bytesVerified');
    const { downloads, bytesServed } = await service.counters(image.id);
    expect(downloads).toBe(2);
    expect(bytesServed).toBeLessThan(32 * MiB);
    expect((await stat(path)).size).toBe(0);
  });

  it('tells of a hostile image in the same way when what was on disk was refused for something else', async () => {
    await upload(patched(qcow2, [[8, 'u64be', 1024], [16, 'u32be', 11], [1024, 'bytes', '/etc/passwd']]), 'qcow2'); // prettier-ignore
    await writeFile(path, Buffer.alloc(64 * 1024));
    await expect(download({ policy })).rejects.toMatchObject({
      type: 'ImageRefused',
      details: { rule: 'qcow2-backing-file' },
    });
  });

  it('fails as TransferCorrupt when it is refused for something else each time', async () => {
    await upload(qcow2, 'qcow2');
    // The magic, then the version.
    await service.inject({ kind: 'wrong-bytes', afterBytes: 0 });
    await service.inject({ kind: 'wrong-bytes', afterBytes: 7 });
    await expect(download({ policy })).rejects.toMatchObject({ type: 'TransferCorrupt' });
  });

  it('fails as TransferCorrupt when it is refused once and has another hash once', async () => {
    await upload(qcow2, 'qcow2');
    await service.inject({ kind: 'wrong-bytes', afterBytes: 0 });
    await service.inject({ kind: 'wrong-bytes', afterBytes: qcow2.length - 1 });
    await expect(download({ policy })).rejects.toMatchObject({
      type: 'TransferCorrupt',
      details: { found: expect.stringMatching(/^[0-9a-f]{128}$/) },
    });
  });
});
