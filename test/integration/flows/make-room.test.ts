import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { deleteVolume } from '../../../client/volumes';
import { sums } from '../../../db/queries/cache-entries';
import { MiB } from '../../../workflows/contract/bytes';
import { expectCleanSlate, useStack, type FlowStack, type UploadedImage } from '../../support/flows';

const VIRTUAL_BYTES = 8 * MiB;
const MAX_BYTES = 3 * VIRTUAL_BYTES;
const MAX_COUNT = 2;

/** Looks at the cache's sums again and again while `work` runs. @returns the most that was ever counted. */
async function watchSums({ stack }: FlowStack, work: () => Promise<void>): Promise<{ bytes: number; count: number }> {
  const most = { bytes: 0, count: 0 };
  const done = new AbortController();
  const watching = (async () => {
    while (!done.signal.aborted) {
      const { bytes, count } = await sums(stack.database, { backend: stack.backend });
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

  it('evicts the least recently used image-volume without clones for a new image, and never exceeds its limits', async () => {
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
