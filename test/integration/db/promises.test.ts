import { observeSpace } from '../../../db/backends';
import { insertVolume, markFailed, type InsertVolumeOutcome } from '../../../db/creates';
import { markDeleting, markDeleted, revertDeleting } from '../../../db/volumes';
import { connectDatabase } from '../../../db/client';
import { GiB, MiB, TiB } from '../../../workflows/contract/bytes';
import type { BackendName, VolumeId } from '../../../workflows/contract/ids';
import { useInventory } from '../../support/database/database';
import {
  SOURCE,
  admittance,
  BACKEND,
  cacheKey,
  completeVolume,
  completion,
  DECISION,
  registerLocal,
} from '../../support/database/rows';

const { database, url } = useInventory(registerLocal);

const key = cacheKey('debian 12');

function admit(sizeBytes: number | null, totalBytes: number, more: { volumeId?: VolumeId; runId?: string } = {}) {
  const promise = { overSubscription: 2, totalBytes };
  return insertVolume(database, admittance(key, { sizeBytes, promise, ...more }));
}

async function admitted(sizeBytes: number, totalBytes: number) {
  const outcome = await admit(sizeBytes, totalBytes);
  if (outcome.kind !== 'admitted') throw new Error(`it is ${outcome.kind}`);
  return outcome.volume;
}

async function sums(): Promise<{ noted: number; real: number }> {
  const [row] = await database.sql<{ noted: number; real: number }[]>`
    select (select coalesce(sum(bytes), 0)::float8 from backend_promises) as noted,
      (select coalesce(sum(size_bytes), 0)::float8 from volumes where state in ('creating', 'available', 'deleting')) as real`;
  return row ?? { noted: -1, real: -2 };
}

test('the sizes of all volumes of a backend count, and a refusal names the numbers', async () => {
  for (const size of [3 * GiB, 2 * GiB]) await admitted(size, 3 * GiB);
  expect(await admit(2 * GiB, 3 * GiB)).toEqual({
    kind: 'no-room',
    neededBytes: 2 * GiB,
    promisedBytes: 5 * GiB,
    mostBytes: 6 * GiB,
  });
  await admitted(GiB, 3 * GiB);
  expect(await admit(512, 3 * GiB)).toMatchObject({ kind: 'no-room' });
  expect(await sums()).toEqual({ noted: 6 * GiB, real: 6 * GiB });
});

test('what the backend has seen last is the measure where nobody who admits holds it, and without either there is no limit', async () => {
  const promise = { overSubscription: 2 };
  expect(await insertVolume(database, admittance(key, { sizeBytes: TiB, promise }))).toMatchObject({
    kind: 'admitted',
  });
  await observeSpace(database, { name: BACKEND, totalBytes: GiB, freeBytes: GiB });
  expect(await insertVolume(database, admittance(key, { promise }))).toMatchObject({
    kind: 'no-room',
    mostBytes: 2 * GiB,
  });
  expect(await insertVolume(database, admittance(key))).toMatchObject({ kind: 'admitted' });
});

test('one that is asked for again counts once, and one that is there is answered whatever else there is', async () => {
  const volume = await admitted(6 * GiB, 3 * GiB);
  const again = { volumeId: volume.id };
  expect(await admit(6 * GiB, 3 * GiB, again)).toMatchObject({ kind: 'admitted' });
  await completeVolume(database, { ...completion(volume), sizeBytes: 6 * GiB });
  expect(await admit(6 * GiB, GiB, again)).toMatchObject({ kind: 'available' });
  const other = admittance(key, {
    ...again,
    request: { other: true },
    promise: { overSubscription: 1, totalBytes: 1 },
  });
  expect(await insertVolume(database, other)).toMatchObject({ kind: 'conflict' });
});

test('what ends gives its bytes back, and what comes back takes them again', async () => {
  const [failed, deleted, refused] = [
    await admitted(GiB, TiB),
    await admitted(2 * GiB, TiB),
    await admitted(4 * GiB, TiB),
  ];
  const noted = async () => (await sums()).noted / GiB;
  expect(await noted()).toBe(7);
  await markFailed(database, { volumeId: failed.id, runId: failed.runId, to: 'error', decision: DECISION });
  expect(await noted()).toBe(6);
  // Nothing of it is there any more.
  await markDeleting(database, { volumeId: failed.id, scope: 'all projects' });
  expect(await noted()).toBe(6);
  await revertDeleting(database, { volumeId: failed.id, usedBy: 'a QEMU process', source: SOURCE });
  expect(await admit(GiB, TiB, { volumeId: failed.id, runId: 'again' })).toMatchObject({ kind: 'admitted' });
  expect(await noted()).toBe(7);
  for (const volume of [deleted, refused]) {
    await completeVolume(database, { ...completion(volume), sizeBytes: volume.sizeBytes ?? 0 });
    await markDeleting(database, { volumeId: volume.id, scope: 'all projects' });
  }
  expect(await noted()).toBe(7);
  await markDeleted(database, { volumeId: deleted.id, source: SOURCE });
  await revertDeleting(database, { volumeId: refused.id, usedBy: 'a QEMU process', source: SOURCE });
  expect(await noted()).toBe(5);
  await database.sql`update volumes set size_bytes = ${8 * GiB} where id = ${refused.id}`;
  expect(await noted()).toBe(9);
  await database.sql`delete from volumes where id = ${refused.id}`;
  expect(await noted()).toBe(1);
});

test('a size that becomes known late is counted then', async () => {
  const outcome = await admit(null, GiB);
  if (outcome.kind !== 'admitted') throw new Error(`it is ${outcome.kind}`);
  expect((await sums()).noted).toBe(0);
  await completeVolume(database, { ...completion(outcome.volume), sizeBytes: GiB });
  expect((await sums()).noted).toBe(GiB);
});

test('backends count apart', async () => {
  await database.sql`insert into backends select (jsonb_populate_record(b, '{"name": "other"}')).* from backends b`;
  await admitted(6 * GiB, 3 * GiB);
  const promise = { overSubscription: 2, totalBytes: 3 * GiB };
  const other = admittance(key, { backend: 'other' as BackendName, sizeBytes: 6 * GiB, promise });
  expect(await insertVolume(database, other)).toMatchObject({ kind: 'admitted' });
});

describe('of creates at once', () => {
  const SESSIONS = 24;
  /** So many that a share of each is small, and far more than there is room for. */
  const at = async (creates: number, sizeBytes: number, mostBytes: number): Promise<InsertVolumeOutcome[]> => {
    const pool = connectDatabase(url, { maxConnections: SESSIONS });
    const promise = { overSubscription: 1, totalBytes: mostBytes };
    try {
      return await Promise.all(
        Array.from({ length: creates }, () => insertVolume(pool, admittance(key, { sizeBytes, promise }))),
      );
    } finally {
      await pool.close();
    }
  };
  const countOf = (outcomes: InsertVolumeOutcome[], wanted: InsertVolumeOutcome['kind']) =>
    outcomes.filter(({ kind }) => kind === wanted).length;

  test.each([
    ['large', { creates: 40, sizeBytes: GiB, mostBytes: 7 * GiB }],
    ['small', { creates: 900, sizeBytes: MiB, mostBytes: 800 * MiB }],
  ])('exactly as many are admitted as fit, when they are %s', async (_, { creates, sizeBytes, mostBytes }) => {
    const outcomes = await at(creates, sizeBytes, mostBytes);
    expect(countOf(outcomes, 'admitted')).toBe(mostBytes / sizeBytes);
    expect(countOf(outcomes, 'no-room')).toBe(creates - mostBytes / sizeBytes);
    expect(await sums()).toEqual({ noted: mostBytes, real: mostBytes });
  });

  test('one that is far from the limit waits for no other', async () => {
    const other = connectDatabase(url, { maxConnections: 1 });
    await admitted(GiB, 100 * TiB);
    await database.sql.begin(async (transaction) => {
      await transaction`select * from promise_room(${BACKEND}, ${'00000000-0000-0000-0000-000000000001'}, ${GiB}, ${200 * TiB})`;
      const promise = { overSubscription: 2, totalBytes: 100 * TiB };
      expect(await insertVolume(other, admittance(key, { promise }))).toMatchObject({ kind: 'admitted' });
    });
    await other.close();
  });
});
