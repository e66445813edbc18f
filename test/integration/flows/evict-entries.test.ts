import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { evict as evictNow, sweep as sweepNow } from '../../../client/eviction';
import { deleteVolume } from '../../../client/volumes';
import { updateLimits, type CacheLimits } from '../../../db/backends';
import { MiB } from '../../../workflows/contract/bytes';
import {
  stayReasons,
  type EvictionResult,
  type EvictSignal,
  type PlainSignal,
} from '../../../workflows/contract/eviction';
import { expectCleanSlate, until, useStack } from '../../support/stack/flows';
import { pinEntries } from '../../../db/evictions/evictor';
import { type EntryRow } from '../../../db/schema';

const ROOMY = { maxBytes: 1024 * MiB, maxCount: 50, freeLowWater: 0, freeHighWater: 0, idleAgeMs: null };

describe('evictEntries', () => {
  const flow = useStack({ cache: { maxBytes: '1GiB', freeLowWater: '0%', freeHighWater: '0%' }, clone: 'overlay' });
  afterEach(async () => {
    const { client, backend } = flow.stack;
    await limit(ROOMY);
    await evict({ count: 50 });
    await client.workflow.getHandle(flow.stack.cache.queues.ids.evict(backend)).terminate('the test is over');
    await expectCleanSlate(flow.stack);
  });

  const limit = (limits: Partial<CacheLimits>) =>
    updateLimits(flow.stack.database, { name: flow.stack.backend, limits, by: 'test' });
  const options = () => ({ backend: flow.stack.backend });
  const evict = async (request: EvictSignal): Promise<EvictionResult> =>
    (await evictNow(flow.stack.cache, request, options())).result;
  const sweep = async (request: PlainSignal = {}): Promise<EvictionResult> =>
    (await sweepNow(flow.stack.cache, request, options())).result;
  const stateOf = ({ id }: EntryRow) => flow.stack.inventory.stateOf(id);
  const historyOf = async ({ id }: EntryRow) =>
    (await flow.stack.inventory.events(id)).map(({ kind, reason }) => [kind, reason]);
  const imagePathOf = ({ imageVolume }: EntryRow) => join(flow.stack.volumesDirectory, 'images', `${imageVolume}.raw`);

  /** An image in the cache, and one volume of it where that is to stay. */
  const cached = async (name: string, { keep = false } = {}) => {
    const { image } = await flow.upload(`${name}-${randomUUID().slice(0, 8)}`);
    const { volumeId } = await flow.create(image);
    if (!keep) await deleteVolume(flow.stack.cache, volumeId);
    const [entry] = await flow.entriesOf(image);
    if (!entry) throw new Error(`${name} is not cached`);
    return { image, entry, volumeId };
  };

  it('deletes what an entry id, an image or the beginning of a cache key names, and tells its history', async () => {
    const [one, two, three] = [await cached('one'), await cached('two'), await cached('three')];
    expect(await evict({ entryId: one.entry.id, reason: 'a mistake' })).toMatchObject({
      outcome: 'done',
      evicted: [{ entryId: one.entry.id, class: 'requested', reclaimedBytes: one.entry.realBytes }],
      held: [],
    });
    expect(await evict({ imageId: two.image.id })).toMatchObject({ evicted: [{ entryId: two.entry.id }] });
    expect(await evict({ cacheKey: three.entry.shortKey.slice(0, 8) })).toMatchObject({ outcome: 'done' });
    for (const { entry } of [one, two, three]) {
      expect(await stateOf(entry)).toBe('gone');
      expect(existsSync(imagePathOf(entry))).toBe(false);
      expect(await historyOf(entry)).toEqual([
        ['deleted', 'requested'],
        ['retired', 'requested'],
        ['registered', null],
      ]);
    }
    expect(await evict({ entryId: one.entry.id })).toMatchObject({ outcome: 'nothing-to-do' });
  });

  it('refuses what it does not know and what is pinned, each by its name', async () => {
    const { entry } = await cached('pinned');
    await pinEntries(flow.stack.database, { target: { entryId: entry.id }, pinned: true, by: 'alice' });
    const unknown = randomUUID();
    expect(await evict({ entryId: unknown })).toMatchObject({
      outcome: 'refused',
      summary: expect.stringContaining(`entryId ${unknown}`),
    });
    expect(await evict({ entryId: entry.id })).toMatchObject({
      outcome: 'refused',
      summary: expect.stringContaining(stayReasons.pinned),
    });
    expect(await stateOf(entry)).toBe('ready');
    await flow.stack.database.sql`update cache_entries set pinned = false where id = ${entry.id}`;
  });

  it('retires a parent that clones hold, which goes with the last of them', async () => {
    const { entry, volumeId } = await cached('held', { keep: true });
    const named = { entryId: entry.id };
    expect(await evict(named)).toMatchObject({
      outcome: 'done',
      evicted: [],
      held: [{ entryId: entry.id, clones: 1 }],
    });
    expect(await evict(named)).toMatchObject({ outcome: 'done', held: [{ entryId: entry.id, clones: 1 }] });
    expect(await stateOf(entry)).toBe('retired');
    await deleteVolume(flow.stack.cache, volumeId);
    expect(await stateOf(entry)).toBe('gone');
  });

  it('plans without changing anything: what goes, in order, and why the others stay', async () => {
    const [cheap, dear, held] = [await cached('cheap'), await cached('dear'), await cached('held', { keep: true })];
    await flow.stack.database
      .sql`update cache_entries set cost_seconds = case when id = ${cheap.entry.id} then 1 else 500 end`;
    await limit({ maxCount: 2 });
    const { plan, ...planned } = await sweep({ dryRun: true });
    expect(planned).toMatchObject({ outcome: 'planned' });
    expect(plan).toMatchObject({
      evict: [
        {
          entryId: cheap.entry.id,
          class: 'pressure',
          imageIds: [cheap.image.id],
          clones: 0,
          why: expect.stringContaining('maxCount 2'),
        },
      ],
      reclaimableBytes: cheap.entry.realBytes,
    });
    expect(Object.fromEntries(plan?.stay.map(({ entryId, why }) => [entryId, why]) ?? [])).toEqual({
      [dear.entry.id]: 'within-limits',
      [held.entry.id]: 'has-clones',
    });
    expect(await stateOf(cheap.entry)).toBe('ready');
    expect(await sweep()).toMatchObject({ outcome: 'done', evicted: [{ entryId: cheap.entry.id, class: 'pressure' }] });
    expect(await sweep()).toMatchObject({ outcome: 'nothing-to-do' });
    await deleteVolume(flow.stack.cache, held.volumeId);
  });

  it('gives back so many or so much by rank, and says when no more can be evicted', async () => {
    const entries = [await cached('one'), await cached('two'), await cached('three', { keep: true })];
    const first = await evict({ count: 1 });
    expect(first.evicted).toHaveLength(1);
    const rest = await evict({ bytes: 100 * MiB });
    expect(rest).toMatchObject({ outcome: 'done' });
    expect(rest.evicted).toHaveLength(1);
    expect(await stateOf(entries[2]?.entry as EntryRow)).toBe('ready');
    await deleteVolume(flow.stack.cache, entries[2]?.volumeId ?? '');
  });

  it('sweeps what is idle, what has lost its last image, and what the low watermark asks for', async () => {
    const { sql } = flow.stack.database;
    const [idle, lost, used] = [await cached('idle'), await cached('lost'), await cached('used')];
    await sql`update cache_entries set last_used_at = now() - interval '2 hours' where id = ${idle.entry.id}`;
    await sql`update entry_images set state = 'gone' where entry_id = ${lost.entry.id}`;
    await limit({ idleAgeMs: 3_600_000 });
    const swept = await sweep();
    expect(swept.evicted?.map(({ entryId, class: name }) => [entryId, name])).toEqual([
      [lost.entry.id, 'image-gone'],
      [idle.entry.id, 'idle'],
    ]);
    expect(await stateOf(used.entry)).toBe('ready');
    expect(await flow.stack.inventory.entry(used.entry.id)).toMatchObject({
      usesScored: 1,
      useScore: 1,
      reclaimableBytes: used.entry.realBytes,
      scoredAt: expect.any(Date),
    });
    await limit({ freeLowWater: 1, freeHighWater: 1 });
    expect(await sweep()).toMatchObject({ evicted: [{ entryId: used.entry.id, class: 'pressure' }] });
  });

  it('finishes a deletion whose population is dead, and leaves one alone whose population runs', async () => {
    const { sql } = flow.stack.database;
    const [dead, alive] = [await cached('dead'), await cached('alive')];
    const running = flow.stack.client.workflow.getHandle(flow.stack.cache.queues.ids.evict(flow.stack.backend));
    await sweep();
    await sql`update cache_entries set state = 'deleting', reason = 'evicted', reserved_for = 'populate/nobody' where id = ${dead.entry.id}`;
    await sql`update cache_entries set state = 'deleting', reason = 'evicted', reserved_for = 'populate/running' where id = ${alive.entry.id}`;
    const other = await flow.stack.client.workflow.start('EvictImageCache', {
      taskQueue: flow.stack.cache.queues.control,
      workflowId: 'populate/running',
      args: [{ backend: flow.stack.backend, sweepIntervalMs: null }],
    });
    try {
      expect(await sweep()).toMatchObject({ outcome: 'done', evicted: [{ entryId: dead.entry.id }] });
      expect(await stateOf(alive.entry)).toBe('deleting');
    } finally {
      await other.terminate('the test is over');
    }
    await until('the population to be seen as dead', async () => (await sweep()).outcome === 'done');
    expect(await stateOf(alive.entry)).toBe('gone');
    expect((await running.describe()).status.name).toBe('RUNNING');
  });

  it('leaves what the backend will not delete outside of the limits and takes another, and deletes it once it can', async () => {
    const [stuck, other] = [await cached('stuck'), await cached('other')];
    const { sql } = flow.stack.database;
    await sql`update cache_entries set cost_seconds = case when id = ${stuck.entry.id} then 1 else 500 end`;
    const marker = imagePathOf(stuck.entry).replace(/raw$/, 'json');
    expect(readdirSync(join(flow.stack.volumesDirectory, 'images'))).toContain(marker.split('/').at(-1));
    const own = await swapInstallation(marker);
    expect(await evict({ count: 1 })).toMatchObject({ outcome: 'done', evicted: [{ entryId: other.entry.id }] });
    expect(await flow.stack.inventory.entry(stuck.entry.id)).toMatchObject({
      state: 'retired',
      counted: false,
      reasonDetail: expect.stringContaining(stuck.entry.imageVolume),
    });
    await own();
    expect(await sweep()).toMatchObject({ evicted: [{ entryId: stuck.entry.id }] });
  });

  it('goes on after a kill in the middle of its deletions, evicts no more than was asked for, and reports all of it', async () => {
    const { sql } = flow.stack.database;
    const all = [await cached('first'), await cached('second'), await cached('third'), await cached('dear')];
    for (const [index, { entry }] of all.entries())
      await sql`update cache_entries set cost_seconds = ${index === 3 ? 500 : index + 1} where id = ${entry.id}`;
    const [first, second, third, dear] = all.map(({ entry }) => entry) as [EntryRow, EntryRow, EntryRow, EntryRow];
    const open = holdMarker(imagePathOf(second).replace(/raw$/, 'json'));
    const asked = evict({ count: 3 });
    await flow.until('the first to be gone', async () => (await stateOf(first)) === 'gone');
    await flow.stack.workers[0]?.stop('SIGKILL');
    open();
    await flow.stack.startWorker();
    const { evicted } = await asked;
    expect(evicted).toHaveLength(3);
    expect(new Set(evicted?.map(({ entryId }) => entryId))).toEqual(new Set([first.id, second.id, third.id]));
    expect(await Promise.all([first, second, third, dear].map(stateOf))).toEqual(['gone', 'gone', 'gone', 'ready']);
    expect(existsSync(imagePathOf(second))).toBe(false);
  });
});

/** A reader of the marker waits until the returned function is called. */
function holdMarker(path: string): () => void {
  renameSync(path, `${path}.kept`);
  execFileSync('mkfifo', [path]);
  return () => renameSync(`${path}.kept`, path);
}

/** Makes an image-volume another installation's. @returns what makes it ours again. */
async function swapInstallation(marker: string): Promise<() => Promise<void>> {
  const { readFile, writeFile } = await import('node:fs/promises');
  const text = await readFile(marker, 'utf8');
  const foreign = text.replace(/"installation":\s*"[^"]+"/, `"installation":"${randomUUID()}"`);
  const put = async (content: string): Promise<void> => {
    chmodSync(marker, 0o600);
    await writeFile(`${marker}.new`, content, { mode: 0o600 });
    renameSync(`${marker}.new`, marker);
  };
  await put(foreign);
  return async () => await put(text);
}
