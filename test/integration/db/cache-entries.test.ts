import { GiB, MiB } from '../../../workflows/contract/bytes';
import type { BackendName, EntryId } from '../../../workflows/contract/ids';
import { observeSpace, updateLimits } from '../../../db/backends';
import { joinFlight } from '../../../db/join-flight';
import {
  abandonReservation,
  registerReady,
  insertPopulatingEntry,
  reserveFreed,
} from '../../../db/entries/reservations';
import { beginEntryDeletion, confirmEntryGone, quarantineEntry, retireEntry } from '../../../db/entries/retirement';
import { countQuarantines, findEntry, listEntries, listEntryImages, readSums } from '../../../db/entries/entries';
import { pinEntries } from '../../../db/evictions/evictor';
import { markDeleting, findVolume, markDeleted } from '../../../db/volumes';
import { markFailed } from '../../../db/creates';
import { useInventory } from '../../support/database/database';
import {
  SOURCE,
  admitted,
  available,
  BACKEND,
  cacheKey,
  DECISION,
  IMAGE,
  leased,
  PROJECT,
  readyEntry,
  register,
  registerLocal,
  reservation,
  reserved,
  markVictims,
  joining,
} from '../../support/database/rows';

const { database } = useInventory(registerLocal);

const key = cacheKey('debian 12');
const other = cacheKey('ubuntu 24.04');

describe('insertPopulatingEntry', () => {
  test('reserves once for one workflow id, whatever the run and the flight', async () => {
    const first = await reserved(database, key);
    expect(first).toMatchObject({ state: 'populating', generation: 1, realBytes: GiB, counted: true, flight: 1 });
    expect(first.imageVolume).toBe(`image-volume-${key.short}-1-${first.id.slice(0, 8)}`);
    expect(await insertPopulatingEntry(database, reservation(key, { flight: 2 }))).toMatchObject({
      kind: 'reserved',
      entry: { id: first.id, flight: 2 },
    });
    expect(await readSums(database, { backend: BACKEND })).toEqual({
      bytes: GiB,
      count: 1,
      reservedBytes: GiB,
      pinnedBytes: 0,
    });
  });

  test('raises what it has reserved when more is needed and there is room', async () => {
    const { id } = await reserved(database, key);
    expect(await insertPopulatingEntry(database, reservation(key, { bytes: 9 * GiB }))).toMatchObject({
      kind: 'reserved',
      entry: { id, realBytes: 9 * GiB },
    });
    await registerLocal(database, { limits: { maxBytes: 9 * GiB } });
    await abandonReservation(database, { entryId: id });
    await reserved(database, other, { bytes: 2 * GiB });
    await reserved(database, key, { bytes: 3 * GiB });
    expect(await insertPopulatingEntry(database, reservation(key, { bytes: 8 * GiB }))).toEqual({
      kind: 'no-room',
      neededBytes: GiB,
      neededCount: 0,
    });
  });

  test('raises only the reservation that is named, and makes no other for one that was given up', async () => {
    const { id: entryId } = await reserved(database, key);
    expect(await insertPopulatingEntry(database, reservation(key, { bytes: 2 * GiB, entryId }))).toMatchObject({
      kind: 'reserved',
      entry: { id: entryId, realBytes: 2 * GiB },
    });
    await abandonReservation(database, { entryId });
    expect(await insertPopulatingEntry(database, reservation(key, { bytes: 3 * GiB, entryId }))).toEqual({
      kind: 'given-up',
      state: 'gone',
    });
    expect(await readSums(database, { backend: BACKEND })).toMatchObject({ bytes: 0, count: 0 });
  });

  test('says what is in the way: cache off, too large, no room in bytes or in count, ready already', async () => {
    expect(await insertPopulatingEntry(database, reservation(key, { bytes: 11 * GiB }))).toEqual({
      kind: 'too-large',
      maxBytes: 10 * GiB,
    });
    const entry = await readyEntry(database, key, { bytes: 6 * GiB });
    expect(await insertPopulatingEntry(database, reservation(key))).toMatchObject({
      kind: 'ready',
      entry: { id: entry.id },
    });
    expect(await insertPopulatingEntry(database, reservation(other, { bytes: 5 * GiB }))).toEqual({
      kind: 'no-room',
      neededBytes: GiB,
      neededCount: 0,
    });
    await updateLimits(database, { name: BACKEND, limits: { maxCount: 1 }, by: 'alice' });
    expect(await insertPopulatingEntry(database, reservation(other))).toEqual({
      kind: 'no-room',
      neededBytes: 0,
      neededCount: 1,
    });
    await updateLimits(database, { name: BACKEND, limits: { enabled: false }, by: 'alice' });
    expect(await insertPopulatingEntry(database, reservation(other))).toEqual({ kind: 'cache-off' });
  });

  test('refuses to share a reservation with another workflow, and an unknown backend', async () => {
    await reserved(database, key);
    await expect(insertPopulatingEntry(database, reservation(key, { workflowId: 'upload/x' }))).rejects.toThrow(
      key.short,
    );
    await expect(
      insertPopulatingEntry(database, reservation(key, { backend: 'nowhere' as BackendName })),
    ).rejects.toThrow(/\bnowhere\b/);
  });

  test('makes the next generation when the newest is full, and starts it with the use count', async () => {
    await registerLocal(database, { limits: { cloneLimit: 1 } });
    await readyEntry(database, key);
    await available(database, key);
    expect(await reserved(database, key)).toMatchObject({ generation: 2, uses: 1, clones: 0 });
  });
});

describe('registerReady', () => {
  test('turns the reservation into what was measured, once', async () => {
    const { id: entryId } = await reserved(database, key, { bytes: 4 * GiB });
    const measured = {
      entryId,
      virtualBytes: 2 * GiB,
      realBytes: GiB,
      costSeconds: 3.5,
      imageId: IMAGE,
      projectId: PROJECT,
    };
    const first = await registerReady(database, measured);
    expect(first).toMatchObject({
      kind: 'ready',
      entry: { state: 'ready', virtualBytes: 2 * GiB, realBytes: GiB, costSeconds: 3.5, reservedFor: null },
    });
    expect(await registerReady(database, { ...measured, costSeconds: 99 })).toEqual(first);
    expect(await listEntryImages(database, { entryIds: [entryId] })).toMatchObject([
      { imageId: IMAGE, projectId: PROJECT, state: 'usable' },
    ]);
    expect(await readSums(database, { backend: BACKEND })).toMatchObject({ bytes: GiB, reservedBytes: 0 });
  });

  test('does not register what is larger than its reservation where the limits have no room for that', async () => {
    const maxBytes = 10 * GiB;
    const { id: entryId } = await reserved(database, key, { bytes: GiB });
    await readyEntry(database, other, { bytes: maxBytes - GiB });
    const measured = { entryId, costSeconds: 1, imageId: IMAGE, projectId: PROJECT };
    const larger = { ...measured, virtualBytes: 2 * GiB, realBytes: GiB + MiB };
    expect(await registerReady(database, larger)).toEqual({ kind: 'no-room' });
    expect(await readSums(database, { backend: BACKEND })).toMatchObject({ bytes: maxBytes, reservedBytes: GiB });
    expect(await registerReady(database, { ...larger, realBytes: GiB })).toMatchObject({ kind: 'ready' });
    expect(await readSums(database, { backend: BACKEND })).toMatchObject({ bytes: maxBytes, reservedBytes: 0 });
  });

  test('does not bring back a reservation that was given up', async () => {
    const { id: entryId } = await reserved(database, key);
    expect(await abandonReservation(database, { entryId, flight: 7 })).toBe(false);
    expect(await abandonReservation(database, { entryId, flight: 1 })).toBe(true);
    expect(await abandonReservation(database, { entryId })).toBe(true);
    const measured = { entryId, virtualBytes: GiB, realBytes: GiB, costSeconds: 1, imageId: IMAGE, projectId: PROJECT };
    expect(await registerReady(database, measured)).toEqual({ kind: 'not-populating', state: 'gone' });
    expect(await readSums(database, { backend: BACKEND })).toMatchObject({ bytes: 0, count: 0 });
    expect(await reserved(database, key)).toMatchObject({ generation: 2 });
  });
});

describe('retiring', () => {
  test('goes ready, retired, deleting, gone; each step repeated answers the same', async () => {
    const { id: entryId } = await readyEntry(database, key);
    expect(await beginEntryDeletion(database, { entryId })).toEqual({ kind: 'not-retired', state: 'ready' });
    for (let time = 0; time < 2; time += 1)
      expect(await retireEntry(database, { entryId, reason: 'image-gone' })).toEqual({
        kind: 'retired',
        deletable: true,
      });
    expect(await confirmEntryGone(database, { entryId })).toBe(false);
    for (let time = 0; time < 2; time += 1)
      expect(await beginEntryDeletion(database, { entryId })).toMatchObject({ kind: 'deleting' });
    expect(await readSums(database, { backend: BACKEND })).toMatchObject({ bytes: GiB, count: 1 });
    for (let time = 0; time < 2; time += 1) expect(await confirmEntryGone(database, { entryId })).toBe(true);
    expect(await findEntry(database, { entryId })).toMatchObject({
      state: 'gone',
      reason: 'image-gone',
      goneAt: expect.any(Date),
    });
    expect(await readSums(database, { backend: BACKEND })).toMatchObject({ bytes: 0, count: 0 });
  });

  test('never takes a leased entry', async () => {
    await readyEntry(database, key);
    const { volume, entryId } = await leased(database, key);
    expect(await retireEntry(database, { entryId, reason: 'superseded' })).toEqual({ kind: 'leased' });
    await markFailed(database, { volumeId: volume.id, runId: volume.runId, to: 'error', decision: DECISION });
    expect(await retireEntry(database, { entryId, reason: 'superseded' })).toEqual({
      kind: 'retired',
      deletable: true,
    });
  });

  test('moves what clones hold out of the limits for good', async () => {
    await readyEntry(database, key);
    const { volume, entryId } = await available(database, key);
    expect(await retireEntry(database, { entryId, reason: 'superseded' })).toEqual({
      kind: 'retired',
      deletable: false,
    });
    expect(await beginEntryDeletion(database, { entryId })).toEqual({ kind: 'held', clones: 1 });
    expect(await readSums(database, { backend: BACKEND })).toEqual({
      bytes: 0,
      count: 0,
      reservedBytes: 0,
      pinnedBytes: GiB,
    });
    await markDeleting(database, { volumeId: volume.id, scope: 'all projects' });
    await markDeleted(database, { volumeId: volume.id, source: SOURCE });
    expect(await readSums(database, { backend: BACKEND })).toMatchObject({ bytes: 0, pinnedBytes: GiB });
    await beginEntryDeletion(database, { entryId });
    await confirmEntryGone(database, { entryId });
    expect(await readSums(database, { backend: BACKEND })).toMatchObject({ bytes: 0, pinnedBytes: 0 });
  });

  test('quarantines once for a herd and remembers how often', async () => {
    const { id: entryId } = await readyEntry(database, key);
    const outcomes = await Promise.all(
      Array.from({ length: 5 }, () => quarantineEntry(database, { entryId, found: 'absent' })),
    );
    expect(outcomes.filter(({ kind }) => kind === 'quarantined')).toHaveLength(1);
    expect(outcomes).toContainEqual({ kind: 'not-ready', state: 'retired' });
    expect(await findEntry(database, { entryId })).toMatchObject({ reason: 'quarantined', reasonDetail: 'absent' });
    expect(await countQuarantines(database, { backend: BACKEND, shortKey: key.short, withinMs: 3_600_000 })).toBe(1);
    expect(await countQuarantines(database, { backend: BACKEND, shortKey: other.short, withinMs: 3_600_000 })).toBe(0);
    expect(await countQuarantines(database, { backend: BACKEND, shortKey: key.short, withinMs: 0 })).toBe(0);
  });
});

describe('victims', () => {
  test('are the least recently used, just enough of them, and their bytes go straight to the reservation', async () => {
    const [oldest, middle, newest] = [
      await readyEntry(database, cacheKey('1'), { bytes: 3 * GiB }),
      await readyEntry(database, cacheKey('2'), { bytes: 3 * GiB }),
      await readyEntry(database, cacheKey('3'), { bytes: 3 * GiB }),
    ];
    await markFailed(database, await idOf(leased(database, cacheKey('1'))));
    const request = reservation(key, { bytes: 4 * GiB });
    expect(await insertPopulatingEntry(database, request)).toEqual({
      kind: 'no-room',
      neededBytes: 3 * GiB,
      neededCount: 0,
    });
    const choice = await markVictims(database, request);
    expect(choice).toMatchObject({
      kind: 'victims',
      deleting: [{ id: middle.id, state: 'deleting', reason: 'evicted' }],
    });
    expect(await markVictims(database, request)).toEqual(choice);
    expect(await insertPopulatingEntry(database, reservation(other, { bytes: 2 * GiB }))).toMatchObject({
      kind: 'no-room',
    });
    const freed = { ...request, freedEntryIds: [middle.id] };
    expect(await reserveFreed(database, { ...freed, freedEntryIds: [] })).toMatchObject({ kind: 'no-room' });
    const done = await reserveFreed(database, freed);
    expect(done).toMatchObject({ kind: 'reserved', entry: { shortKey: key.short } });
    expect(await reserveFreed(database, freed)).toEqual(done);
    expect(await findEntry(database, { entryId: middle.id })).toMatchObject({ state: 'gone', counted: false });
    expect(await readSums(database, { backend: BACKEND })).toMatchObject({ bytes: 10 * GiB, count: 3 });
    expect((await listEntries(database, { backend: BACKEND, state: 'ready', limit: 10 })).map(({ id }) => id)).toEqual([
      newest.id,
      oldest.id,
    ]);
  });

  test('are all or none: nothing is given up for a reservation that will not fit anyway', async () => {
    const { id: free } = await readyEntry(database, other, { bytes: 3 * GiB });
    await readyEntry(database, key, { bytes: 6 * GiB });
    await leased(database, key);
    const request = { backend: BACKEND, bytes: 8 * GiB, workflowId: 'populate/x' };
    expect(await markVictims(database, request)).toEqual({ kind: 'none' });
    expect(await markVictims(database, { ...request, bytes: 11 * GiB })).toEqual({ kind: 'none' });
    expect(await findEntry(database, { entryId: free })).toMatchObject({ state: 'ready' });
  });

  test('never are pinned entries, and retired ones that nothing holds go first', async () => {
    const pinned = await readyEntry(database, cacheKey('1'), { bytes: 4 * GiB });
    const used = await readyEntry(database, cacheKey('2'), { bytes: 3 * GiB });
    const retired = await readyEntry(database, cacheKey('3'), { bytes: 3 * GiB });
    expect(await pinEntries(database, { target: { entryId: pinned.id }, pinned: true, by: 'alice' })).toEqual({
      matched: 1,
      changed: 1,
    });
    expect(await findEntry(database, { entryId: pinned.id })).toMatchObject({ pinned: true, pinnedBy: 'alice' });
    await retireEntry(database, { entryId: retired.id, reason: 'superseded' });
    const request = { backend: BACKEND, bytes: GiB, workflowId: 'populate/x' };
    expect(await markVictims(database, request)).toMatchObject({
      deleting: [{ id: retired.id, reason: 'superseded' }],
    });
    expect(await markVictims(database, { ...request, bytes: 6 * GiB })).toMatchObject({
      deleting: [{ id: retired.id }, { id: used.id }],
    });
    const greedy = { ...request, workflowId: 'populate/y', bytes: 7 * GiB };
    expect(await markVictims(database, greedy)).toEqual({ kind: 'none' });
    const unpin = (entryId: EntryId) =>
      pinEntries(database, { backend: BACKEND, target: { entryId }, pinned: false, by: 'bob', workflowId: 'evict/x' });
    expect(await unpin(pinned.id)).toEqual({ matched: 1, changed: 1 });
    expect(await unpin(retired.id)).toEqual({ matched: 0, changed: 0 });
  });

  test('are parents that clones hold only when nothing else is left: they leave the limits and stay on the backend', async () => {
    const cold = await readyEntry(database, key, { bytes: 5 * GiB });
    const clone = await available(database, key);
    const unused = await readyEntry(database, other, { bytes: 4 * GiB });
    const request = { backend: BACKEND, bytes: 2 * GiB, workflowId: 'populate/x' };
    expect(await markVictims(database, request)).toMatchObject({ deleting: [{ id: unused.id }], held: [] });
    const more = { backend: BACKEND, bytes: 6 * GiB, workflowId: 'populate/x' };
    expect(await markVictims(database, more)).toMatchObject({
      deleting: [{ id: unused.id }],
      held: [{ id: cold.id, state: 'retired', counted: false, reason: 'evicted', clones: 1 }],
    });
    expect(await readSums(database, { backend: BACKEND })).toMatchObject({ bytes: 4 * GiB, pinnedBytes: 5 * GiB });
    expect(await findVolume(database, { volumeId: clone.volume.id, scope: 'all projects' })).toMatchObject({
      holdsEntry: true,
    });
  });

  test('are no parents of clones when the backend would fall below its low watermark', async () => {
    await readyEntry(database, key, { bytes: 6 * GiB });
    await available(database, key);
    await observeSpace(database, { name: BACKEND, totalBytes: 100 * GiB, freeBytes: 14 * GiB });
    const request = { backend: BACKEND, bytes: 5 * GiB, workflowId: 'populate/x' };
    expect(await markVictims(database, request)).toEqual({ kind: 'none' });
    await observeSpace(database, { name: BACKEND, totalBytes: 100 * GiB, freeBytes: 15 * GiB });
    expect(await markVictims(database, request)).toMatchObject({ kind: 'victims', held: [{ state: 'retired' }] });
  });

  test('are no entries whose waiters have not acquired them yet', async () => {
    const { id: entryId } = await reserved(database, key, { bytes: 6 * GiB });
    const volume = await admitted(database, key);
    await joinFlight(database, joining(volume, key));
    await register(database, entryId, 6 * GiB);
    const request = { backend: BACKEND, bytes: 5 * GiB, workflowId: 'populate/x' };
    expect(await markVictims(database, request)).toEqual({ kind: 'none' });
    await markFailed(database, { volumeId: volume.id, runId: volume.runId, to: 'deleted', decision: DECISION });
    expect(await markVictims(database, request)).toMatchObject({ deleting: [{ id: entryId }] });
  });

  test('are not needed when there is room by now', async () => {
    const request = reservation(key);
    expect(await markVictims(database, request)).toEqual({ kind: 'victims', deleting: [], held: [] });
    expect(await reserveFreed(database, { ...request, freedEntryIds: [] })).toMatchObject({ kind: 'reserved' });
  });
});

test('entries are listed by backend, key and state', async () => {
  const first = await reserved(database, key);
  const second = await readyEntry(database, other);
  expect((await listEntries(database, { limit: 10 })).map(({ id }) => id)).toEqual([second.id, first.id]);
  expect(await listEntries(database, { shortKey: key.short, limit: 10 })).toMatchObject([{ id: first.id }]);
  expect(await listEntries(database, { state: 'ready', limit: 10 })).toMatchObject([{ id: second.id }]);
  expect(await findEntry(database, { entryId: '00000000-0000-4000-8000-000000000000' as EntryId })).toBeUndefined();
  await register(database, first.id);
  expect(await listEntries(database, { state: 'ready', limit: 1 })).toHaveLength(1);
});

async function idOf(lease: ReturnType<typeof leased>): Promise<Parameters<typeof markFailed>[1]> {
  const { volume } = await lease;
  return { volumeId: volume.id, runId: volume.runId, to: 'deleted', decision: DECISION };
}
