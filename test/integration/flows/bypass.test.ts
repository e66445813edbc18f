import { deleteVolume } from '../../../client/volumes';
import { MiB } from '../../../workflows/contract/bytes';
import { bypassReasons } from '../../../workflows/lib/details';
import { expectCleanSlate, useStack } from '../../support/stack/flows';

const HERD = 8;
const VIRTUAL_BYTES = 16 * MiB;

describe('a create that is asked to bypass the cache', () => {
  const flow = useStack();
  afterEach(() => expectCleanSlate(flow.stack));

  it('shares one download with the others of its host', async () => {
    const { sample, image } = await flow.upload('parallel');
    const { imageService, database } = flow.stack;
    await imageService.inject({ kind: 'status-503', on: 'file', imageId: image.id, times: 1_000_000 });
    const running = await Promise.all(
      Array.from({ length: HERD }, (_, index) =>
        (index % 2 === 0 ? flow.start : flow.startAs)(image, { bypassCache: true }),
      ),
    );
    await flow.until('all to use the scratch file', async () => {
      const [row] = await database.sql<{ users: number }[]>`select cardinality(users) as users from scratch_files`;
      return row?.users === HERD;
    });
    await imageService.clearFaults();
    const volumes = await Promise.all(running.map(({ result }) => result()));
    for (const volume of volumes) {
      expect(volume).toMatchObject({ outcome: 'bypassed', reason: bypassReasons.requested });
      await flow.expectGuestBytes(sample, volume);
    }
    expect(await imageService.counters(image.id)).toMatchObject({ bytesServed: image.sizeBytes });
    expect(volumes.reduce((total, { bytesDownloaded }) => total + bytesDownloaded, 0)).toBe(image.sizeBytes);
    expect(await flow.entriesOf(image)).toEqual([]);
  });
});

describe('a backend whose cache is off', () => {
  const flow = useStack({ cache: { enabled: false } });
  afterEach(() => expectCleanSlate(flow.stack));

  it('writes every image straight into the volumes', async () => {
    const { sample, image } = await flow.upload('off');
    for (const start of [flow.start, flow.startAs]) {
      const volume = await (await start(image)).result();
      expect(volume).toMatchObject({ outcome: 'bypassed', reason: bypassReasons['cache-off'] });
      await flow.expectGuestBytes(sample, volume);
    }
    expect(await flow.entriesOf(image)).toEqual([]);
  });
});

describe('a small cache', () => {
  // Free space is never enough here to keep a parent that clones hold beside the limits.
  const flow = useStack({
    cache: { maxBytes: '24MiB', freeLowWater: '98%', freeHighWater: '99%' },
    clone: 'overlay',
  });
  afterEach(() => expectCleanSlate(flow.stack));

  it('is bypassed by an image that is larger than all of it, and evicts nothing for it', async () => {
    const small = await flow.upload('small', { virtualBytes: 8 * MiB });
    const { volumeId } = await flow.create(small.image);
    const large = await flow.upload('large', { virtualBytes: 32 * MiB });
    const running = await Promise.all(
      Array.from({ length: HERD }, (_, index) => (index % 2 === 0 ? flow.start : flow.startAs)(large.image)),
    );
    const herd = await Promise.all(running.map(({ result }) => result()));
    for (const volume of herd) {
      expect(volume).toMatchObject({
        outcome: 'bypassed',
        reason: bypassReasons['too-large-for-cache'],
      });
      await flow.expectGuestBytes(large.sample, volume);
    }
    expect(await flow.entriesOf(small.image)).toMatchObject([{ state: 'ready', clones: 1 }]);
    await deleteVolume(flow.stack.cache, volumeId);
  });

  it('is bypassed while all its image-volumes have clones and free space is short, and used again when one has none', async () => {
    const held = await flow.upload('held', { virtualBytes: VIRTUAL_BYTES, dataBytes: VIRTUAL_BYTES - MiB });
    const { volumeId } = await flow.create(held.image);
    const other = await flow.upload('other', { virtualBytes: VIRTUAL_BYTES });
    for (const start of [flow.start, flow.startAs]) {
      const bypassed = await (await start(other.image)).result();
      expect(bypassed).toMatchObject({ outcome: 'bypassed', reason: bypassReasons['no-room'] });
      await flow.expectGuestBytes(other.sample, bypassed);
    }
    expect(await flow.entriesOf(other.image)).toEqual([]);

    await deleteVolume(flow.stack.cache, volumeId);
    const cached = await flow.create(other.image);
    expect(cached).toMatchObject({ outcome: 'miss' });
    await flow.expectGuestBytes(other.sample, cached);
    expect(await flow.entriesOf(held.image)).toEqual([]);
    expect(await flow.entriesOf(other.image)).toMatchObject([{ state: 'ready', clones: 1 }]);
  });
});
