import { sql } from 'drizzle-orm';
import { chooseEvictions, toVictims, type Demand } from '../../../activities/eviction/choose-evictions';
import { scoreOf } from '../../../activities/eviction/score';
import { confirmEntryGone, keepUndeletable, quarantineEntry, retireEntry } from '../../../db/entries/retirement';
import { findEntry, listEntries, readSums } from '../../../db/entries/entries';
import { reserveFreed } from '../../../db/entries/reservations';
import { pinEntries } from '../../../db/evictions/evictor';
import { findBackend, observeSpace, updateLimits } from '../../../db/backends';
import { listEntryEvents } from '../../../db/entries/entry-events';
import { listLowestImageVolumes, noteReclaimable, scoreEntries } from '../../../db/evictions/entry-scores';
import { forgetGone } from '../../../db/evictions/evictor';
import { findKeysBeginning } from '../../../db/entries/entries';
import { markForEviction, viewEvictions } from '../../../db/evictions/victims';
import { markDeleting, markDeleted } from '../../../db/volumes';
import { acquireEntry } from '../../../db/acquire';
import { GiB } from '../../../workflows/contract/bytes';
import type { EntryId } from '../../../workflows/contract/ids';
import { useInventory } from '../../support/database/database';
import { notTheDate } from '../../support/timers';
import {
  SOURCE,
  admitted,
  available,
  BACKEND,
  cacheKey,
  leased,
  readyEntry,
  registerLocal,
  reservation,
  reserved,
  markVictims,
  acquirement,
} from '../../support/database/rows';
import { holding, openTransaction, untilBlocked } from './locks';

const { database, url } = useInventory((fresh) =>
  registerLocal(fresh, { limits: { policy: 'gdsf', maxCount: 50, maxBytes: 1000 * GiB } }),
);

const key = cacheKey('debian 12');
const workflowId = `evict/${BACKEND}`;

function evict(demand: Demand) {
  const entryIds = demand.kind === 'named' ? demand.entryIds : [];
  const choose = (view: Parameters<typeof chooseEvictions>[0]) => toVictims(chooseEvictions(view, [demand]));
  return markForEviction(database, { backend: BACKEND, entryIds, workflowId, choose });
}

function score(staleMs = 60_000) {
  return scoreEntries(database, { backend: BACKEND, staleMs, score: scoreOf });
}

async function historyOf(entryId: EntryId) {
  const newestFirst = await listEntryEvents(database, { entryIds: [entryId], limit: 20 });
  const events = newestFirst.toReversed();
  return events.map(({ kind, reason, detail, bytes }) => ({ kind, reason, detail, bytes }));
}

describe('parents with clones', () => {
  test('of fifty images whose every parent has a long-lived clone, one gives its place to the fifty-first', async () => {
    for (let image = 1; image <= 50; image += 1) {
      await readyEntry(database, cacheKey(`image ${image}`));
      await available(database, cacheKey(`image ${image}`));
    }
    const request = reservation(cacheKey('image 51'));
    const choice = await markVictims(database, request);
    expect(choice).toMatchObject({
      kind: 'victims',
      deleting: [],
      held: [{ state: 'retired', reason: 'evicted', clones: 1 }],
    });
    expect(await reserveFreed(database, { ...request, freedEntryIds: [] })).toMatchObject({ kind: 'reserved' });
    expect(await readSums(database, { backend: BACKEND })).toMatchObject({
      count: 50,
      bytes: 50 * GiB,
      pinnedBytes: GiB,
    });
  });

  test('are retired on request and leave with their last clone', async () => {
    const { id: entryId } = await readyEntry(database, key);
    const { volume } = await available(database, key);
    const taken = await evict({ kind: 'named', entryIds: [entryId], why: 'a mistake' });
    expect(taken).toMatchObject({
      deleting: [],
      held: [{ id: entryId, state: 'retired', counted: false, reason: 'requested' }],
    });
    await markDeleting(database, { volumeId: volume.id, scope: 'all projects' });
    expect(await markDeleted(database, { volumeId: volume.id, source: SOURCE })).toMatchObject({
      freedEntry: { entryId },
    });
  });
});

describe('the evictor against creates', () => {
  const demand: Demand = { kind: 'rank', count: 1, why: 'asked for' };

  test('an entry that is leased while its row is waited for stays', async () => {
    const { id: entryId } = await readyEntry(database, key);
    const volume = await admitted(database, key);
    const acquire = await openTransaction(url);
    await acquireEntry(acquire.database, acquirement(volume, key));
    const taken = evict(demand);
    await untilBlocked(database, { text: 'select "id", "backend"' });
    await acquire.commit();
    expect(await taken).toMatchObject({ deleting: [], held: [] });
    expect(await findEntry(database, { entryId })).toMatchObject({ state: 'ready', clones: 1 });
  });

  test('an acquire that waits for the evictor finds the key cold', async () => {
    const { id: entryId } = await readyEntry(database, key);
    const volume = await admitted(database, key);
    const lock = await holding(url, sql`lock table volumes in access exclusive mode`);
    const taken = evict(demand);
    await untilBlocked(database, { text: 'select distinct "entry_id"' });
    const acquire = acquireEntry(database, acquirement(volume, key));
    await untilBlocked(database, { count: 2 });
    await lock.commit();
    expect(await taken).toMatchObject({ deleting: [{ id: entryId, state: 'deleting', reservedFor: workflowId }] });
    expect(await acquire).toMatchObject({ kind: 'cold' });
  });

  test('a pin that comes while the evictor waits for the row is obeyed', async () => {
    const { id: entryId } = await readyEntry(database, key);
    const pin = await openTransaction(url);
    await pinEntries(pin.database, { target: { entryId }, pinned: true, by: 'alice' });
    const taken = evict(demand);
    await untilBlocked(database, { text: 'select "id", "backend"' });
    await pin.commit();
    expect(await taken).toMatchObject({ deleting: [], held: [] });
  });

  test('a reservation and the evictor never take the same entry, and a reservation that waits sees what the evictor took', async () => {
    await updateLimits(database, { name: BACKEND, limits: { maxCount: 4 }, by: 'alice' });
    for (const name of ['1', '2', '3', '4']) await readyEntry(database, cacheKey(name));
    const [taken, ...choices] = await Promise.all([
      evict({ kind: 'rank', count: 2, why: 'asked for' }),
      markVictims(database, reservation(cacheKey('5'))),
      markVictims(database, reservation(cacheKey('6'))),
    ]);
    const victims = [
      ...taken.deleting,
      ...choices.flatMap((choice) => (choice.kind === 'victims' ? choice.deleting : [])),
    ];
    expect(new Set(victims.map(({ id }) => id)).size).toBe(victims.length);
    expect(victims).toHaveLength(4);
  });
});

describe('scoring', () => {
  test('counts each use once, however often and however many score at the same time, and raises no clock', async () => {
    const { id: entryId } = await readyEntry(database, key, { bytes: 2 * GiB });
    await available(database, key);
    await leased(database, key);
    await Promise.all([score(), score(), score()]);
    expect(await score()).toBe(0);
    const scored = await findEntry(database, { entryId });
    expect(scored).toMatchObject({ uses: 2, usesScored: 2, useScore: 2, scoredAt: expect.any(Date) });
    // Seconds over GiB of a place of the limits, twice.
    expect(scored?.priority).toBeCloseTo((2 * 4.5) / 20);
    await leased(database, key);
    expect(await score()).toBe(1);
    expect((await findEntry(database, { entryId }))?.useScore).toBeCloseTo(3);
    expect(await findBackend(database, { name: BACKEND })).toMatchObject({ evictionClock: 0 });
  });

  test('looks again at what was scored long enough ago, and at nothing else', async () => {
    await readyEntry(database, key);
    expect(await score()).toBe(1);
    expect(await score()).toBe(0);
    expect(await score(0)).toBe(1);
  });

  test('ends, and a view is of the database’s time, where the clock of this host is hours ahead', async () => {
    await readyEntry(database, key);
    await database.sql`insert into cache_entries
      select (jsonb_populate_record(e, jsonb_build_object('id', gen_random_uuid(), 'short_key', md5(n::text), 'image_volume', n))).*
      from cache_entries e, generate_series(2, 1200) n`;
    const aheadMs = 3 * 3_600_000;
    jest.useFakeTimers({ now: Date.now() + aheadMs, doNotFake: [...notTheDate] });
    try {
      expect(await score()).toBe(1200);
      expect(await score()).toBe(0);
      const { now } = await viewEvictions(database, { backend: BACKEND, entryIds: [] });
      expect(Date.now() - now.getTime()).toBeGreaterThan(aheadMs / 2);
    } finally {
      jest.useRealTimers();
    }
  });

  test('outlives eviction: the next generation of a key begins with what the last was used for', async () => {
    await readyEntry(database, key);
    await acquireAndEnd();
    await score();
    const [taken] = (await evict({ kind: 'rank', count: 1, why: 'asked for' })).deleting;
    await confirmEntryGone(database, { entryId: taken?.id as EntryId });
    expect(await reserved(database, key)).toMatchObject({
      generation: 2,
      uses: 1,
      usesScored: 1,
      useScore: 1,
      scoredAt: taken?.scoredAt,
    });
  });

  test('victims by score raise the clock, which new entries begin with', async () => {
    await updateLimits(database, { name: BACKEND, limits: { maxCount: 1 }, by: 'alice' });
    await readyEntry(database, key, { bytes: 2 * GiB });
    await acquireAndEnd();
    const request = reservation(cacheKey('other'));
    expect(await markVictims(database, request)).toMatchObject({ deleting: [{ shortKey: key.short }] });
    const backend = await findBackend(database, { name: BACKEND });
    expect(backend?.evictionClock).toBeGreaterThan(0);
    const [victim] = await listEntries(database, { backend: BACKEND, state: 'deleting', limit: 1 });
    await confirmEntryGone(database, { entryId: victim?.id as EntryId });
    expect(await readyEntry(database, cacheKey('other'))).toMatchObject({
      priorityBase: backend?.evictionClock,
      priority: backend?.evictionClock,
    });
  });

  test('notes what the backend would get back from those that may go first', async () => {
    const [first, second] = [await readyEntry(database, key), await readyEntry(database, cacheKey('other'))];
    await available(database, key);
    expect(await listLowestImageVolumes(database, { backend: BACKEND, limit: 10 })).toEqual([
      { entryId: second.id, imageVolume: second.imageVolume },
    ]);
    await noteReclaimable(database, { found: [{ entryId: second.id, bytes: 7 }] });
    expect(await findEntry(database, { entryId: second.id })).toMatchObject({ reclaimableBytes: 7 });
    expect(await findEntry(database, { entryId: first.id })).toMatchObject({ reclaimableBytes: null });
  });

  async function acquireAndEnd(): Promise<void> {
    const { volume } = await available(database, key);
    await markDeleting(database, { volumeId: volume.id, scope: 'all projects' });
    await markDeleted(database, { volumeId: volume.id, source: SOURCE });
  }
});

test('what happens to an entry is in its history exactly once, with its reason', async () => {
  const [one, two, three] = [
    await readyEntry(database, key),
    await readyEntry(database, cacheKey('two')),
    await readyEntry(database, cacheKey('three')),
  ];
  const bytes = GiB;
  for (let time = 0; time < 2; time += 1) {
    await pinEntries(database, { target: { entryId: one.id }, pinned: true, by: 'alice' });
    await quarantineEntry(database, { entryId: two.id, found: 'changed' });
    await retireEntry(database, { entryId: three.id, reason: 'image-gone', detail: 'its image is gone' });
  }
  const unpin = { backend: BACKEND, target: { entryId: one.id }, pinned: false, by: 'bob', workflowId: 'evict/x' };
  for (let time = 0; time < 2; time += 1) await pinEntries(database, unpin);
  const taken = await evict({ kind: 'named', entryIds: [one.id], why: 'a mistake' });
  for (const { id } of [...taken.deleting, ...taken.deleting]) await confirmEntryGone(database, { entryId: id });
  const registered = { kind: 'registered', reason: null, detail: expect.stringContaining('image'), bytes };
  expect(await historyOf(one.id)).toEqual([
    registered,
    { kind: 'pinned', reason: 'requested', detail: 'by alice', bytes },
    { kind: 'unpinned', reason: 'requested', detail: 'by bob', bytes },
    { kind: 'retired', reason: 'requested', detail: 'requested: a mistake', bytes },
    { kind: 'deleted', reason: 'requested', detail: null, bytes },
  ]);
  expect(await historyOf(two.id)).toEqual([
    registered,
    { kind: 'quarantined', reason: 'quarantined', detail: 'changed', bytes },
  ]);
  expect(await historyOf(three.id)).toEqual([
    registered,
    { kind: 'retired', reason: 'image-gone', detail: 'its image is gone', bytes },
  ]);
});

test('what the backend will not delete goes back to retired, outside of the limits, and says so once', async () => {
  const { id: entryId } = await readyEntry(database, key);
  for (let time = 0; time < 2; time += 1) {
    await evict({ kind: 'rank', count: 1, why: 'asked for' });
    await keepUndeletable(database, { entryId, found: 'it is of another installation' });
  }
  expect(await findEntry(database, { entryId })).toMatchObject({
    state: 'retired',
    counted: false,
    reservedFor: null,
    reasonDetail: 'it is of another installation',
  });
  expect((await historyOf(entryId)).filter(({ kind }) => kind === 'retired')).toHaveLength(2);
  expect(await readSums(database, { backend: BACKEND })).toMatchObject({ bytes: 0, count: 0, pinnedBytes: GiB });
});

test('a view locks nothing and shows what may go and what may not', async () => {
  await readyEntry(database, key);
  await leased(database, key);
  await reserved(database, cacheKey('other'));
  await observeSpace(database, { name: BACKEND, totalBytes: 10, freeBytes: 5 });
  const held = await holding(url, sql`select 1 from cache_entries, backends for update`);
  const view = await viewEvictions(database, { backend: BACKEND, entryIds: [] });
  await held.commit();
  expect(view.backend).toMatchObject({ totalBytes: 10, freeBytes: 5 });
  expect(Object.fromEntries(view.candidates.map(({ entry, leased: isLeased }) => [entry.state, isLeased]))).toEqual({
    populating: false,
    ready: true,
  });
});

test('a beginning of a key means the keys that are there, and those that are gone where none is', async () => {
  const keys = ['abcd0', 'abcd1', 'abce0'].map((start) => cacheKey(start, { short: start.padEnd(32, '0') }));
  for (const each of keys) await readyEntry(database, each);
  const beginning = (prefix: string) => findKeysBeginning(database, { backend: BACKEND, prefix });
  const [first, second, third] = keys.map(({ short }) => short);
  expect(await beginning('abcd')).toEqual([first, second]);
  expect(await beginning('abcd1')).toEqual([second]);
  expect(await beginning(third ?? '')).toEqual([third]);
  expect(await beginning('abcf')).toEqual([]);
  await database.sql`update cache_entries set state = 'gone' where short_key = ${first ?? ''}`;
  expect(await beginning('abcd')).toEqual([second]);
  expect(await beginning('abcd0')).toEqual([first]);
});

test('entries that have been gone for long are forgotten, their volumes and their history are not', async () => {
  const { id: entryId } = await readyEntry(database, key);
  const [{ id } = { id: entryId }] = (await evict({ kind: 'rank', count: 1, why: 'asked for' })).deleting;
  await confirmEntryGone(database, { entryId: id });
  const request = { backend: BACKEND, limit: 10, mostVolumes: 10 };
  await forgetGone(database, { ...request, keptMs: 60_000 });
  expect(await findEntry(database, { entryId })).toMatchObject({ state: 'gone' });
  await forgetGone(database, { ...request, keptMs: 0 });
  expect(await findEntry(database, { entryId })).toBeUndefined();
  expect(await historyOf(entryId)).toHaveLength(3);
});

test('an entry that very many volumes name is forgotten over several sweeps, none of which touches more than it may', async () => {
  const { id: entryId } = await readyEntry(database, key);
  const other = await readyEntry(database, cacheKey('other'));
  await database.sql`insert into volumes (id, project_id, backend, image_id, short_key, request, size_bytes, state, entry_id, workflow_id, run_id,
      image_metadata, metadata)
    select gen_random_uuid(), 'p', ${BACKEND}, 'i', ${key.short}, '{}', 512, 'deleted', ${entryId}, 'volume/' || n, 'run', '{}', '{}'
    from generate_series(1, 2500) n`;
  await database.sql`update cache_entries set state = 'gone', counted = false, gone_at = now() - interval '1 day'`;
  const naming = async (): Promise<number> =>
    (await database.sql<{ n: number }[]>`select count(*)::int as n from volumes where entry_id = ${entryId}`)[0]?.n ??
    0;
  const request = { backend: BACKEND, keptMs: 60_000, limit: 10, mostVolumes: 1200 };
  await forgetGone(database, request);
  expect(await naming()).toBe(1300);
  expect(await findEntry(database, { entryId: other.id })).toBeUndefined();
  expect(await findEntry(database, { entryId })).toMatchObject({ state: 'gone' });
  await forgetGone(database, request);
  await forgetGone(database, request);
  expect(await findEntry(database, { entryId })).toBeUndefined();
  expect(await database.sql`select 1 from volumes`).toHaveLength(2500);
});

test('an entry that was called gone while a volume holds it stays, and does not stop the others from being forgotten', async () => {
  const { id: entryId } = await readyEntry(database, key);
  await leased(database, key);
  const other = await readyEntry(database, cacheKey('other'));
  await database.sql`update cache_entries set state = 'gone', counted = false, gone_at = now() - interval '1 day'`;
  await forgetGone(database, { backend: BACKEND, keptMs: 60_000, limit: 10, mostVolumes: 100 });
  expect(await findEntry(database, { entryId })).toMatchObject({ state: 'gone' });
  expect(await findEntry(database, { entryId: other.id })).toBeUndefined();
});
