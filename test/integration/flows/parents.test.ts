import { chmodSync, readdirSync, renameSync, rmSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { deleteVolume } from '../../../client/volumes';
import { updateLimits } from '../../../db/backends';
import type { Image } from '../../../workflows/contract/image';
import { expectCleanSlate, useStack, type FlowStack } from '../../support/stack/flows';
import { type EntryRow } from '../../../db/schema';

const HERD = 8;

async function onlyEntryOf(flow: FlowStack, image: Image): Promise<EntryRow> {
  const [entry, ...others] = (await flow.entriesOf(image)).filter(({ state }) => state === 'ready');
  if (!entry || others.length > 0) throw new Error('one ready entry was expected');
  return entry;
}

function parentPath({ stack }: FlowStack, { imageVolume }: EntryRow): string {
  return join(stack.volumesDirectory, 'images', `${imageVolume}.raw`);
}

async function quarantines({ stack }: FlowStack, image: Image): Promise<number> {
  const [row] = await stack.database.sql<
    { count: string }[]
  >`select count(*) from cache_entries where reason = 'quarantined' and hash_value = ${image.hashValue}`;
  return Number(row?.count);
}

describe('a sealed parent that changed behind the back', () => {
  const flow = useStack();
  afterEach(() => expectCleanSlate(flow.stack));

  it.each([
    ['is deleted', (path: string) => rmSync(path)],
    ['is made writable', (path: string) => chmodSync(path, 0o600)],
    ['was written', (path: string) => utimesSync(path, new Date(), new Date())],
  ])(
    'and %s is quarantined once for a herd of creates, which all get a volume of its replacement',
    async (what, breakParent) => {
      const { sample, image } = await flow.upload(`broken-${what.replaceAll(' ', '-')}`);
      const { volumeId: first } = await flow.create(image);
      const broken = await onlyEntryOf(flow, image);
      breakParent(parentPath(flow, broken));

      const volumes = await Promise.all(Array.from({ length: HERD }, () => flow.create(image)));
      for (const volume of volumes) await flow.expectGuestBytes(sample, volume);
      expect(volumes.filter(({ outcome }) => outcome === 'miss')).toHaveLength(1);
      expect(await quarantines(flow, image)).toBe(1);
      expect(await onlyEntryOf(flow, image)).toMatchObject({ generation: 2, clones: HERD });
      expect(await flow.stack.imageService.counters(image.id)).toMatchObject({ downloads: 2 });
      expect(await flow.stack.inventory.entry(broken.id)).toMatchObject({
        state: 'retired',
        reason: 'quarantined',
        clones: 1,
      });

      expect(await deleteVolume(flow.stack.cache, first)).toMatchObject({ deletedParent: broken.id });
      expect(
        readdirSync(join(flow.stack.volumesDirectory, 'images')).filter((name) => name.startsWith(broken.imageVolume)),
      ).toEqual([]);
    },
  );

  it('and that no volume needs any more is deleted as soon as it is quarantined', async () => {
    const { sample, image } = await flow.upload('unneeded');
    const { volumeId } = await flow.create(image);
    await deleteVolume(flow.stack.cache, volumeId);
    const broken = await onlyEntryOf(flow, image);
    chmodSync(parentPath(flow, broken), 0o600);
    const volumes = await Promise.all(Array.from({ length: HERD }, () => flow.create(image)));
    for (const volume of volumes) await flow.expectGuestBytes(sample, volume);
    await flow.until('the parent to be gone', async () => {
      const entry = await flow.stack.inventory.entry(broken.id);
      return entry?.state === 'gone';
    });
    expect(readdirSync(join(flow.stack.volumesDirectory, 'images'))).not.toContain(`${broken.imageVolume}.raw`);
  });

  it('is no accident the second time within the hour: the create fails and says what it found', async () => {
    const { image } = await flow.upload('twice');
    await flow.create(image);
    chmodSync(parentPath(flow, await onlyEntryOf(flow, image)), 0o600);
    await flow.create(image);
    chmodSync(parentPath(flow, await onlyEntryOf(flow, image)), 0o600);

    const failing = await flow.start(image);
    await expect(failing.result()).rejects.toMatchObject({
      cause: { type: 'ParentUnusable', details: [{ found: expect.stringContaining('mode is 600') }] },
    });
    expect(await flow.volume(failing.volumeId)).toMatchObject({
      state: 'error',
      errorType: 'ParentUnusable',
      holdsEntry: false,
    });
    expect(await quarantines(flow, image)).toBe(1);
  });
});

describe('a backend that is away for a moment', () => {
  const flow = useStack({ workers: [['control'], ['backend', 'host']] });
  afterEach(() => expectCleanSlate(flow.stack));

  it('quarantines nothing: the clone is tried again until the directory is back', async () => {
    const { sample, image } = await flow.upload('away');
    await flow.create(image);
    const { volumesDirectory } = flow.stack;
    renameSync(volumesDirectory, `${volumesDirectory}.away`);
    const create = await flow.start(image);
    try {
      await flow.until('the clone to be tried again', async () => {
        const { raw } = await create.handle.describe();
        return raw.pendingActivities?.some(
          ({ activityType, attempt }) => activityType?.name === 'cloneVolume' && (attempt ?? 0) > 1,
        );
      });
    } finally {
      renameSync(`${volumesDirectory}.away`, volumesDirectory);
    }
    const hit = await create.result();
    expect(hit).toMatchObject({ outcome: 'hit' });
    await flow.expectGuestBytes(sample, hit);
    expect(await quarantines(flow, image)).toBe(0);
    expect(await onlyEntryOf(flow, image)).toMatchObject({ generation: 1, clones: 2 });
  });
});

describe('a parent at its clone limit', () => {
  const flow = useStack();
  afterEach(() => expectCleanSlate(flow.stack));

  it('is followed by the next generation, which serves the creates that come then', async () => {
    await updateLimits(flow.stack.database, { name: flow.stack.backend, limits: { cloneLimit: 2 }, by: 'the test' });
    const { sample, image } = await flow.upload('limit');
    await flow.create(image);
    await flow.create(image);
    const volumes = await Promise.all([flow.create(image), flow.create(image)]);
    for (const volume of volumes) await flow.expectGuestBytes(sample, volume);
    const entries = await flow.entriesOf(image);
    expect(entries.map(({ generation, clones }) => ({ generation, clones }))).toEqual(
      expect.arrayContaining([
        { generation: 1, clones: 2 },
        { generation: 2, clones: 2 },
      ]),
    );
  });
});

describe('a parent near its clone limit', () => {
  const LIMIT = 5;
  const flow = useStack();
  beforeAll(async () => {
    const { database, backend: name } = flow.stack;
    await updateLimits(database, { name, limits: { cloneLimit: LIMIT }, by: 'the test' });
  });
  afterEach(() => expectCleanSlate(flow.stack));

  const generationsOf = async (image: Image) =>
    (await flow.entriesOf(image)).map(({ generation }) => generation).sort((a, b) => a - b);
  const flightsOf = async (image: Image) => (await flow.flightOf(image))?.flight;

  it('has its next generation populated by nobody’s create, and no create waits for it', async () => {
    const { sample, image } = await flow.upload('near');
    for (let clones = 1; clones < LIMIT - 1; clones += 1) await flow.create(image);
    expect(await generationsOf(image)).toEqual([1]);
    expect(await flightsOf(image)).toBe(1);

    expect(await flow.create(image)).toMatchObject({ outcome: 'hit' });
    await flow.until('the next generation', async () => (await flow.entriesOf(image)).length === 2);
    await expectCleanSlate(flow.stack);
    expect(await flow.flightOf(image)).toMatchObject({ flight: 2, leaderVolumeId: null });
    for (let clones = 1; clones < LIMIT - 1; clones += 1) {
      const hit = await flow.create(image);
      expect(hit).toMatchObject({
        outcome: 'hit',
        timingsMs: expect.not.objectContaining({ wait: expect.anything() }),
      });
      await flow.expectGuestBytes(sample, hit);
    }
    expect(await generationsOf(image)).toEqual([1, 2]);
    expect((await flow.entriesOf(image)).map(({ clones }) => clones)).toEqual([LIMIT - 2, LIMIT - 1]);
  });

  it('and a herd of more than two parents’ worth gets all its volumes, of no more generations than it takes', async () => {
    const { sample, image } = await flow.upload('herd');
    const volumes = await Promise.all(Array.from({ length: 12 }, () => flow.create(image)));
    for (const volume of volumes) await flow.expectGuestBytes(sample, volume);
    await expectCleanSlate(flow.stack);
    const entries = await flow.entriesOf(image);
    expect(entries.every(({ clones }) => clones <= LIMIT)).toBe(true);
    // Twelve clones need three parents, and a third one that is near its own limit has begun a fourth.
    expect(entries.length).toBeLessThanOrEqual(4);
    const { downloads } = await flow.stack.imageService.counters(image.id);
    expect(downloads).toBe(entries.length);
  });
});
