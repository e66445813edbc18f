import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { appendFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { BackendName } from '../../workflows/contract/ids';
import { clusterCompressions } from '../../activities/image/decompress-clusters';
import { MiB } from '../../workflows/contract/bytes';
import type { Image } from '../../workflows/contract/image';
import { until, useStack, fillScratch } from '../support/stack/flows';
import { uploadSample } from '../support/images/sample-image';

const run = promisify(execFile);
const second = 'second' as BackendName;
const flow = useStack({ otherBackends: [second] });
const SIZE_BYTES = 64 * MiB;
/** Bytes that the service may have sent before it learns that nobody reads on: the first MiB, and the content of sockets and buffers. */
const EARLY_BYTES = 16 * MiB;

/** @returns why each attempt of the flight's activities was not the first. */
async function lostAttemptsOf(image: Image): Promise<string[]> {
  const { events } = await flow.flightHandle(image).fetchHistory();
  return (events ?? []).flatMap(({ activityTaskStartedEventAttributes: started }) => {
    const failure = started?.lastFailure;
    return failure ? (failure.applicationFailureInfo?.type ?? failure.message ?? 'unknown') : [];
  });
}

describe('an image that its first bytes condemn', () => {
  it('is refused before the rest has come when it is of another format than declared', async () => {
    const { sample } = await flow.upload('mismatched', { virtualBytes: 2 * SIZE_BYTES });
    for (const diskFormat of ['raw', 'vmdk']) {
      const image = await uploadSample(flow.stack.images, sample, { diskFormat });
      await expect(flow.create(image)).rejects.toMatchObject({ type: 'ImageRefused' });
      expect((await flow.stack.imageService.counters(image.id)).bytesServed).toBeLessThan(EARLY_BYTES);
    }
  });

  it('is refused before the rest has come when its header, not its record, says that the disk is too large', async () => {
    const path = join(flow.directory, 'huge.vdi');
    await run('qemu-img', ['create', '-q', '-f', 'vdi', path, '3T']);
    await appendFile(path, randomBytes(SIZE_BYTES));
    const image = await uploadSample(
      flow.stack.images,
      { path, rawPath: path, diskFormat: 'raw', virtualBytes: 0 },
      { diskFormat: 'vdi' },
    );
    await expect(flow.create(image)).rejects.toMatchObject({ type: 'ImageRefused' });
    expect((await flow.stack.imageService.counters(image.id)).bytesServed).toBeLessThan(EARLY_BYTES);
  });
});

describe('a raw image', () => {
  it('is written into the image-volume as it comes, sparse, whatever its size', async () => {
    const { sample, image } = await flow.upload('odd', { diskFormat: 'raw', virtualBytes: SIZE_BYTES + 100 });
    await flow.expectGuestBytes(sample, await flow.create(image));
    expect(await flow.stack.imageService.counters(image.id)).toMatchObject({
      downloads: 1,
      bytesServed: image.sizeBytes,
    });
    const [entry] = await flow.entriesOf(image);
    expect(entry?.realBytes).toBeLessThan(0.6 * SIZE_BYTES);
  });

  it('goes on within the attempt where the connection was cut', async () => {
    const { sample, image } = await flow.upload('cut', { diskFormat: 'raw', virtualBytes: SIZE_BYTES });
    await flow.stack.imageService.inject({ imageId: image.id, kind: 'cut', afterBytes: 20 * MiB + 5 });
    await flow.expectGuestBytes(sample, await flow.create(image));
    expect(await flow.stack.imageService.counters(image.id)).toMatchObject({ bytesServed: image.sizeBytes });
  });

  it('goes on from the bytes on disk when its worker is killed', async () => {
    const { sample, image } = await flow.upload('killed', { diskFormat: 'raw', virtualBytes: SIZE_BYTES });
    await flow.stack.imageService.inject({ imageId: image.id, kind: 'stall', afterBytes: 40 * MiB });
    const create = await flow.start(image);
    const images = join(flow.stack.volumesDirectory, 'partial-images');
    await until('40 MiB to be on disk', async () =>
      readdirSync(images).some((name) => name.endsWith('.partial') && statSync(join(images, name)).size >= 40 * MiB),
    );
    expect(readdirSync(join(flow.stack.scratchDirectory, 'images'))).toEqual([]);
    await flow.stack.workers.at(-1)?.stop('SIGKILL');
    await flow.stack.startWorker();
    await flow.expectGuestBytes(sample, await create.result());
    const { bytesServed } = await flow.stack.imageService.counters(image.id);
    expect(bytesServed).toBeLessThanOrEqual((image.sizeBytes ?? 0) + 4 * MiB);
    // Nobody has waited for a heartbeat to time out.
    expect(await lostAttemptsOf(image)).toEqual(['HostLost']);
    expect(readdirSync(images).filter((name) => name.endsWith('.partial'))).toEqual([]);
  });
});

describe('a qcow2', () => {
  const images = () => join(flow.stack.volumesDirectory, 'partial-images');
  const partials = () => readdirSync(images()).filter((name) => name.endsWith('.partial'));
  const untilUnpacked = (bytes: number) =>
    until('its first bytes to be written', async () =>
      partials().some((name) => statSync(join(images(), name)).blocks * 512 >= bytes),
    );
  /** Bytes that were sent and are not on disk when their worker is killed are sent again. */
  const untilInScratch = (bytes: number) => {
    const scratch = join(flow.stack.scratchDirectory, 'images');
    return until('its first bytes to be in the scratch', async () =>
      readdirSync(scratch).some(
        (name) => (statSync(join(scratch, name), { throwIfNoEntry: false })?.size ?? 0) >= bytes,
      ),
    );
  };
  const activitiesOf = async (image: Image): Promise<string[]> => {
    const { events } = await flow.flightHandle(image).fetchHistory();
    return (events ?? []).flatMap((event) => event.activityTaskScheduledEventAttributes?.activityType?.name ?? []);
  };

  it('is in its image-volume when the last byte has come, with no conversion after it', async () => {
    const { sample, image } = await flow.upload('unpacked', { virtualBytes: SIZE_BYTES });
    await flow.stack.imageService.inject({ imageId: image.id, kind: 'slow', bytesPerSecond: 12 * MiB });
    const create = await flow.start(image);
    await untilUnpacked(16 * MiB);
    await flow.expectGuestBytes(sample, await create.result());
    expect(await activitiesOf(image)).toEqual(['downloadToScratch', 'answerWaiters']);
    expect(partials()).toEqual([]);
    const [entry] = await flow.entriesOf(image);
    expect(entry?.realBytes).toBeLessThan(0.6 * SIZE_BYTES);
  });

  it('is unpacked anew after its worker was killed, from the bytes on disk', async () => {
    const { sample, image } = await flow.upload('unpack-killed', { virtualBytes: SIZE_BYTES });
    await flow.stack.imageService.inject({ imageId: image.id, kind: 'stall', afterBytes: 24 * MiB });
    const create = await flow.start(image);
    await untilUnpacked(16 * MiB);
    await untilInScratch(20 * MiB);
    await flow.stack.workers.at(-1)?.stop('SIGKILL');
    await flow.stack.startWorker();
    await flow.expectGuestBytes(sample, await create.result());
    const { bytesServed } = await flow.stack.imageService.counters(image.id);
    expect(bytesServed).toBeLessThanOrEqual((image.sizeBytes ?? 0) + 4 * MiB);
    expect(await lostAttemptsOf(image)).toEqual(['HostLost']);
    expect(await activitiesOf(image)).toEqual(['downloadToScratch', 'answerWaiters']);
    expect(partials()).toEqual([]);
  });

  it('is unpacked anew after a clean restart, when its first bytes were wrong', async () => {
    const { sample, image } = await flow.upload('unpack-wrong', { virtualBytes: SIZE_BYTES });
    await flow.stack.imageService.inject({ imageId: image.id, kind: 'wrong-bytes', afterBytes: 20 * MiB });
    await flow.expectGuestBytes(sample, await flow.create(image));
    expect(await activitiesOf(image)).toEqual(['downloadToScratch', 'answerWaiters']);
    expect(partials()).toEqual([]);
  });

  it('goes on while a worker of another host starts', async () => {
    const { sample, image } = await flow.upload('another-host', { virtualBytes: SIZE_BYTES });
    await flow.stack.imageService.inject({ imageId: image.id, kind: 'slow', bytesPerSecond: 8 * MiB });
    const create = await flow.start(image);
    await untilUnpacked(4 * MiB);
    const scratchDirectory = join(flow.directory, 'another-scratch');
    const other = await flow.stack.spawnWorker({ roles: ['host'], scratchDirectory });
    await other.ready;
    await flow.expectGuestBytes(sample, await create.result());
    expect(await lostAttemptsOf(image)).toEqual([]);
    await other.stop();
  });

  it.each(clusterCompressions)('is decompressed while it comes, from %s', async (compression) => {
    const { sample, image } = await flow.upload(`unpack-${compression}`, { virtualBytes: SIZE_BYTES, compression });
    await flow.expectGuestBytes(sample, await flow.create(image));
    expect(await activitiesOf(image)).toEqual(['downloadToScratch', 'answerWaiters']);
    expect(partials()).toEqual([]);
  });

  it.each([
    ['clusters that have parts', { subclusters: true }],
    ...(clusterCompressions.includes('zstd')
      ? []
      : [['a compression that this Node does not have', { compression: 'zstd' }] as const]),
  ] as const)('with %s is converted when it has come', async (what, options) => {
    const { sample, image } = await flow.upload(what.replaceAll(' ', '-'), options);
    await flow.expectGuestBytes(sample, await flow.create(image));
    expect(await activitiesOf(image)).toEqual(['downloadToScratch', 'writeImageVolume', 'answerWaiters']);
    expect(partials()).toEqual([]);
  });
});

describe('two backends that populate the same image at once', () => {
  it.each(['qcow2', 'raw'] as const)('download it once: %s', async (diskFormat) => {
    const { sample, image } = await flow.upload(`twice-${diskFormat}`, { diskFormat, virtualBytes: 2 * SIZE_BYTES });
    // Long enough that the second begins while the first still downloads, whatever else the machine does.
    await flow.stack.imageService.inject({ imageId: image.id, kind: 'slow', bytesPerSecond: 16 * MiB });
    const volumes = await Promise.all([flow.create(image), flow.create(image, { backend: second })]);
    for (const volume of volumes) await flow.expectGuestBytes(sample, volume);
    expect(await flow.stack.imageService.counters(image.id)).toMatchObject({
      downloads: 1,
      bytesServed: image.sizeBytes,
    });
  });
});

describe('the scratch', () => {
  it('lets flights wait for their turn when it is full, and says who is first', async () => {
    const giveBack = await fillScratch(flow.stack, 50 * 1024 * MiB);
    const uploads = [await flow.upload('queued-1'), await flow.upload('queued-2')];
    const creates = [];
    for (const { image, sample } of uploads) {
      const place = creates.length === 0 ? 'first in the queue' : '1 ahead in the queue';
      creates.push({ sample, ...(await flow.start(image)) });
      await until(`a flight to be ${place}`, async () => (await flow.heartbeatOf(image)).includes(place));
    }
    await giveBack();
    for (const { sample, result } of creates) {
      const { outcome, connection } = await result();
      expect(outcome).toBe('miss');
      await flow.expectGuestBytes(sample, { connection });
    }
  });

  it('holds after a start of its worker what the inventory names, and the inventory names what it holds', async () => {
    const { stack } = flow;
    const hostId = (await readFile(join(stack.scratchDirectory, 'host-id'), 'utf8')).trim();
    await stack.workers.at(-1)?.stop();
    const pathOf = (contentHash: string): string => join(stack.scratchDirectory, 'images', contentHash);
    writeFileSync(pathOf('sha512-0a'), 'nobody’s');
    writeFileSync(`${pathOf('sha512-0b')}.partial`, 'nobody’s');
    writeFileSync(pathOf('sha512-0c'), 'verified by an earlier process');
    await stack.database
      .sql`insert into scratch_files (host_id, content_hash, bytes_reserved, users) values (${hostId}, 'sha512-0c', 8, array['somebody']), (${hostId}, 'sha512-0d', 8, array['somebody'])`;
    await stack.startWorker();
    expect(readdirSync(join(stack.scratchDirectory, 'images'))).toEqual(['sha512-0c.partial']);
    expect([...(await stack.database.sql`select content_hash from scratch_files`)]).toEqual([
      { content_hash: 'sha512-0c' },
    ]);
    expect(existsSync(pathOf('sha512-0c'))).toBe(false);
  });
});
