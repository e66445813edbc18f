import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { deleteVolume } from '../../../client/volumes';
import { MiB } from '../../../workflows/contract/bytes';
import { expectCleanSlate, useStack, type FlowStack, type UploadedImage } from '../../support/stack/flows';
import { makeSampleImage, uploadSample } from '../../support/images/sample-image';
import { type EntryRow } from '../../../db/schema';
import { bypassReasons } from '../../../workflows/lib/details';

const run = promisify(execFile);
const VIRTUAL_BYTES = 8 * MiB;
const MAX_BYTES = 3 * VIRTUAL_BYTES;
const MAX_COUNT = 2;

/** Looks at the cache's sums again and again while `work` runs. @returns the most that was ever counted. */
async function watchSums({ stack }: FlowStack, work: () => Promise<void>): Promise<{ bytes: number; count: number }> {
  const most = { bytes: 0, count: 0 };
  const done = new AbortController();
  const watching = (async () => {
    while (!done.signal.aborted) {
      const { bytes, count } = await stack.inventory.sums();
      most.bytes = Math.max(most.bytes, bytes);
      most.count = Math.max(most.count, count);
    }
  })();
  try {
    await work();
  } finally {
    done.abort();
    await watching;
  }
  return most;
}

/** An image in the cache that no volume needs. */
async function cacheUnused(flow: FlowStack, name: string): Promise<UploadedImage> {
  const uploaded = await flow.upload(name, { virtualBytes: VIRTUAL_BYTES });
  const { volumeId } = await flow.create(uploaded.image);
  await deleteVolume(flow.stack.cache, volumeId);
  return uploaded;
}

describe('a cache that is full', () => {
  const flow = useStack({ cache: { maxBytes: MAX_BYTES, maxCount: MAX_COUNT }, clone: 'overlay' });
  afterEach(() => expectCleanSlate(flow.stack));

  it('evicts the image-volume that is worth least for a new image, and never exceeds its limits', async () => {
    const [stale, used] = [await cacheUnused(flow, 'stale'), await cacheUnused(flow, 'used')];
    // Used again after the other one.
    const again = await flow.create(used.image);
    await deleteVolume(flow.stack.cache, again.volumeId);
    const [victim] = await flow.entriesOf(stale.image);
    const fresh = await flow.upload('fresh', { virtualBytes: VIRTUAL_BYTES });

    const most = await watchSums(flow, async () => {
      const volume = await flow.create(fresh.image);
      expect(volume).toMatchObject({ outcome: 'miss' });
      await flow.expectGuestBytes(fresh.sample, volume);
      await deleteVolume(flow.stack.cache, volume.volumeId);
    });
    expect(most.count).toBe(MAX_COUNT);
    expect(most.bytes).toBeLessThanOrEqual(MAX_BYTES);
    expect(await flow.entriesOf(stale.image)).toEqual([]);
    expect(
      readdirSync(join(flow.stack.volumesDirectory, 'images')).filter((name) =>
        name.startsWith(victim?.imageVolume ?? '-'),
      ),
    ).toEqual([]);
    expect(await flow.entriesOf(used.image)).toMatchObject([{ state: 'ready' }]);
    expect(await flow.entriesOf(fresh.image)).toMatchObject([{ state: 'ready' }]);
  });

  it('stays within its limits when several new images come at once, and all get their volumes', async () => {
    const uploads = await Promise.all(
      ['one', 'two', 'three', 'four'].map((name) => flow.upload(name, { virtualBytes: VIRTUAL_BYTES })),
    );
    const most = await watchSums(flow, async () => {
      await Promise.all(
        uploads.map(async ({ sample, image }) => {
          const volume = await flow.create(image);
          await flow.expectGuestBytes(sample, volume);
          expect(['miss', 'bypassed']).toContain(volume.outcome);
        }),
      );
    });
    expect(most.count).toBeLessThanOrEqual(MAX_COUNT);
    expect(most.bytes).toBeLessThanOrEqual(MAX_BYTES);
  });
});

describe('a cache for one entry', () => {
  const flow = useStack({ cache: { maxCount: 1, freeLowWater: '0%', freeHighWater: '0%' }, clone: 'overlay' });
  afterEach(() => expectCleanSlate(flow.stack));

  it('holds one entry at most while four images are populated at once, and each of them gets its volume', async () => {
    const uploads = await Promise.all(
      ['one', 'two', 'three', 'four'].map((name) => flow.upload(name, { virtualBytes: VIRTUAL_BYTES })),
    );
    const most = await watchSums(flow, async () => {
      const volumes = await Promise.all(uploads.map(({ image }) => flow.create(image)));
      expect(volumes.some(({ outcome }) => outcome === 'miss')).toBe(true);
      for (const { volumeId } of volumes) await deleteVolume(flow.stack.cache, volumeId);
    });
    expect(most.count).toBe(1);
    expect(await flow.stack.inventory.sums()).toMatchObject({ pinnedBytes: 0 });
  });

  it('gives up the parent of a live clone for a new image: it is shown apart and goes with its last clone', async () => {
    const [first, second] = [await flow.upload('first'), await flow.upload('second')];
    const clone = await flow.create(first.image);
    const [parent] = await flow.entriesOf(first.image);
    const volume = await flow.create(second.image);
    expect(volume).toMatchObject({ outcome: 'miss' });
    expect(await flow.entriesOf(first.image)).toMatchObject([{ state: 'retired', reason: 'evicted', counted: false }]);
    expect(await flow.stack.inventory.sums()).toMatchObject({
      count: 1,
      pinnedBytes: parent?.realBytes,
    });
    await flow.expectGuestBytes(first.sample, clone);
    // Its content is asked for again: the next generation takes the place of the other parent.
    const again = await flow.create(first.image);
    expect(again).toMatchObject({ outcome: 'miss' });
    for (const { volumeId } of [clone, volume, again]) await deleteVolume(flow.stack.cache, volumeId);
    expect(await stateOf(parent)).toBe('gone');
  });

  const stateOf = async (entry: EntryRow | undefined) => entry && (await flow.stack.inventory.entry(entry.id))?.state;
});

describe('a cache on a backend that is nearly full', () => {
  const flow = useStack({ cache: { maxCount: 1, freeLowWater: '100%', freeHighWater: '100%' }, clone: 'overlay' });
  afterEach(() => expectCleanSlate(flow.stack));

  it('keeps the parents of live clones: what clones hold is bounded by the low watermark', async () => {
    const [first, second] = [await flow.upload('first'), await flow.upload('second')];
    const clone = await flow.create(first.image);
    const bypassed = await flow.create(second.image);
    expect(bypassed).toMatchObject({ outcome: 'bypassed' });
    expect(await flow.entriesOf(first.image)).toMatchObject([{ state: 'ready' }]);
    for (const { volumeId } of [clone, bypassed]) await deleteVolume(flow.stack.cache, volumeId);
  });
});

describe('an image whose record does not tell the size of its disk', () => {
  const flow = useStack({ cache: { maxBytes: MAX_BYTES, maxCount: 3 * MAX_COUNT }, clone: 'overlay' });
  afterEach(() => expectCleanSlate(flow.stack));

  const uploadCompressed = async (name: string, virtualBytes: number): Promise<UploadedImage> => {
    const options = { directory: flow.directory, name, diskFormat: 'raw', virtualBytes, dataBytes: 2 * MiB } as const;
    const sample = await makeSampleImage(options);
    await run('gzip', ['-1kf', sample.path]);
    const packed = { ...sample, path: `${sample.path}.gz` };
    return { sample, image: await uploadSample(flow.stack.images, packed, { containerFormat: 'compressed' }) };
  };
  const uploadVdi = async (name: string, virtualBytes: number): Promise<UploadedImage> => {
    const options = { directory: flow.directory, name, diskFormat: 'raw', virtualBytes, dataBytes: 2 * MiB } as const;
    const sample = await makeSampleImage(options);
    const path = join(flow.directory, `${name}.vdi`);
    await run('qemu-img', ['convert', '-f', 'raw', '-O', 'vdi', sample.rawPath, path]);
    return { sample, image: await uploadSample(flow.stack.images, { ...sample, path }, { diskFormat: 'vdi' }) };
  };

  it.each([
    ['a compressed one', uploadCompressed],
    ['a VDI', uploadVdi],
  ])('is not cached where it turns out larger than the limit: %s', async (what, upload) => {
    const { sample, image } = await upload(`too-large ${what}`.replaceAll(' ', '-'), MAX_BYTES + VIRTUAL_BYTES);
    expect(image.virtualSizeBytes).toBeNull();
    const most = await watchSums(flow, async () => {
      const volume = await flow.create(image);
      expect(volume).toMatchObject({ outcome: 'bypassed', reason: bypassReasons['too-large-for-cache'] });
      await flow.expectGuestBytes(sample, volume);
    });
    expect(most.bytes).toBeLessThanOrEqual(MAX_BYTES);
    expect(await flow.entriesOf(image)).toEqual([]);
  });

  it('has room made for it when it turns out larger than what was reserved', async () => {
    const unused = [await cacheUnused(flow, 'unused-1'), await cacheUnused(flow, 'unused-2')];
    const { sample, image } = await uploadCompressed('makes-room', MAX_BYTES);
    const most = await watchSums(flow, async () => {
      const volume = await flow.create(image);
      expect(volume).toMatchObject({ outcome: 'miss' });
      await flow.expectGuestBytes(sample, volume);
    });
    expect(most.bytes).toBeLessThanOrEqual(MAX_BYTES);
    expect(await flow.entriesOf(image)).toMatchObject([{ state: 'ready', virtualBytes: MAX_BYTES }]);
    const left = await Promise.all(unused.map((uploaded) => flow.entriesOf(uploaded.image)));
    expect(left.flat()).toEqual([]);
  });

  it('of several that come at once only those are cached that have room together', async () => {
    const uploads = await Promise.all(
      ['a', 'b', 'c', 'd'].map((name) => uploadCompressed(`at-once-${name}`, 2 * VIRTUAL_BYTES)),
    );
    const most = await watchSums(flow, async () => {
      await Promise.all(
        uploads.map(async ({ sample, image }) => {
          const volume = await flow.create(image);
          await flow.expectGuestBytes(sample, volume);
          expect(['miss', 'bypassed']).toContain(volume.outcome);
        }),
      );
    });
    expect(most.bytes).toBeLessThanOrEqual(MAX_BYTES);
  });
});
