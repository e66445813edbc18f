import { sql, type SQL } from 'drizzle-orm';
import { beginEntryDeletion, retireEntry } from '../../../db/entries/retirement';
import { findEntry, readSums } from '../../../db/entries/entries';
import { insertPopulatingEntry } from '../../../db/entries/reservations';
import { answerFlight, updateFlightRun, findFlight, waitersOf } from '../../../db/flights';
import { joinFlight } from '../../../db/join-flight';
import { insertVolume, markFailed } from '../../../db/creates';
import { markDeleting, findVolume, markDeleted } from '../../../db/volumes';
import { acquireEntry } from '../../../db/acquire';
import { GiB } from '../../../workflows/contract/bytes';
import type { VolumeId } from '../../../workflows/contract/ids';
import { useInventory } from '../../support/database/database';
import {
  SOURCE,
  admittance,
  admitted,
  available,
  BACKEND,
  cacheKey,
  completeVolume,
  completion,
  DECISION,
  leased,
  readyEntry,
  registerLocal,
  reservation,
  markVictims,
  acquirement,
  joining,
} from '../../support/database/rows';
import { holding, openTransaction, untilBlocked } from './locks';

const { database, url } = useInventory(registerLocal);

const key = cacheKey('debian 12');
const lockVolumes = sql`lock table volumes in access exclusive mode`;

describe('acquire against retire', () => {
  test('a retire that waits for an acquire sees its lease', async () => {
    const { id: entryId } = await readyEntry(database, key);
    const volume = await admitted(database, key);
    const acquire = await openTransaction(url);
    expect(await acquireEntry(acquire.database, acquirement(volume, key))).toMatchObject({ kind: 'leased' });
    const retire = retireEntry(database, { entryId, reason: 'superseded' });
    await untilBlocked(database, { text: 'for update' });
    await acquire.commit();
    expect(await retire).toEqual({ kind: 'leased' });
    expect(await findEntry(database, { entryId })).toMatchObject({ state: 'ready', clones: 1 });
  });

  test('a lease that is looked for in the locking statement itself is not seen: why retire takes two', async () => {
    const { id: entryId } = await readyEntry(database, key);
    const volume = await admitted(database, key);
    const acquire = await openTransaction(url);
    await acquireEntry(acquire.database, acquirement(volume, key));
    const locked = database.orm.execute(
      sql`select id from cache_entries e where id = ${entryId} and state = 'ready'
        and not exists (select 1 from volumes v where v.entry_id = e.id and v.state = 'creating') for update`,
    );
    const observed = Promise.resolve(locked);
    await untilBlocked(database, { text: 'not exists' });
    await acquire.commit();
    expect(await observed).toHaveLength(1);
  });

  test('an acquire that waits for a retire gets no lease on what was retired', async () => {
    const { id: entryId } = await readyEntry(database, key);
    const volume = await admitted(database, key);
    const lock = await holding(url, lockVolumes);
    const retire = retireEntry(database, { entryId, reason: 'superseded' });
    await untilBlocked(database, { text: 'select distinct "entry_id"' });
    const acquire = acquireEntry(database, acquirement(volume, key));
    await untilBlocked(database, { count: 2 });
    await lock.commit();
    expect(await retire).toEqual({ kind: 'retired', deletable: true });
    expect(await acquire).toMatchObject({ kind: 'cold' });
    expect(await findVolume(database, { volumeId: volume.id, scope: 'all projects' })).toMatchObject({
      entryId: null,
      holdsEntry: false,
    });
  });

  test('an acquire that loses the newest generation goes on to the one before', async () => {
    await registerLocal(database, { limits: { cloneLimit: 1 } });
    const first = await readyEntry(database, key);
    const { volume: filling } = await leased(database, key);
    const second = await readyEntry(database, key);
    await markFailed(database, { volumeId: filling.id, runId: filling.runId, to: 'error', decision: DECISION });
    const [one, two] = [await admitted(database, key), await admitted(database, key)];
    const acquire = await openTransaction(url);
    expect(await acquireEntry(acquire.database, acquirement(one, key))).toMatchObject({ entry: { id: second.id } });
    const other = acquireEntry(database, acquirement(two, key));
    await untilBlocked(database);
    await acquire.commit();
    expect(await other).toMatchObject({ kind: 'leased', entry: { id: first.id } });
  });

  test('an acquire repeated while the first try is still running returns the same lease', async () => {
    const { id: entryId } = await readyEntry(database, key);
    const volume = await admitted(database, key);
    const first = await openTransaction(url);
    await acquireEntry(first.database, acquirement(volume, key));
    const repeated = acquireEntry(database, acquirement(volume, key));
    await untilBlocked(database);
    await first.commit();
    expect(await repeated).toMatchObject({ kind: 'leased', entry: { id: entryId } });
    expect(await findEntry(database, { entryId })).toMatchObject({ clones: 1, uses: 1 });
  });
});

describe('victims against acquire', () => {
  const request = { backend: BACKEND, bytes: 6 * GiB, workflowId: 'populate/other' };

  test('an entry that is leased while the choice waits for its row is no victim', async () => {
    const { id: entryId } = await readyEntry(database, key, { bytes: 6 * GiB });
    const volume = await admitted(database, key);
    const acquire = await openTransaction(url);
    await acquireEntry(acquire.database, acquirement(volume, key));
    const choice = markVictims(database, request);
    // The end of a long statement is not shown.
    await untilBlocked(database, { text: 'select "id", "backend"' });
    await acquire.commit();
    expect(await choice).toEqual({ kind: 'none' });
    expect(await findEntry(database, { entryId })).toMatchObject({ state: 'ready', clones: 1 });
  });

  test('an acquire that waits for the choice finds the key cold', async () => {
    const { id: entryId } = await readyEntry(database, key, { bytes: 6 * GiB });
    const volume = await admitted(database, key);
    const lock = await holding(url, lockVolumes);
    const choice = markVictims(database, request);
    await untilBlocked(database, { text: 'select distinct "entry_id"' });
    const acquire = acquireEntry(database, acquirement(volume, key));
    await untilBlocked(database, { count: 2 });
    await lock.commit();
    expect(await choice).toMatchObject({ kind: 'victims', deleting: [{ id: entryId, state: 'deleting' }] });
    expect(await acquire).toMatchObject({ kind: 'cold' });
  });

  test('a retired entry is not deleted before the deletion of its last clone is committed', async () => {
    const { id: entryId } = await readyEntry(database, key);
    const { volume } = await available(database, key);
    await retireEntry(database, { entryId, reason: 'superseded' });
    await markDeleting(database, { volumeId: volume.id, scope: 'all projects' });
    const finish = await openTransaction(url);
    await markDeleted(finish.database, { volumeId: volume.id, source: SOURCE });
    expect(await beginEntryDeletion(database, { entryId })).toEqual({ kind: 'held', clones: 1 });
    await finish.commit();
    expect(await beginEntryDeletion(database, { entryId })).toMatchObject({ kind: 'deleting' });
  });
});

describe('reserve against reserve', () => {
  test('of two keys at once only what fits is reserved', async () => {
    const lock = await holding(url, sql`select 1 from backends for update`);
    const keys = [cacheKey('one'), cacheKey('two'), cacheKey('three')];
    const all = Promise.all(keys.map((each) => insertPopulatingEntry(database, reservation(each, { bytes: 4 * GiB }))));
    await untilBlocked(database, { count: 3 });
    await lock.commit();
    const kinds = (await all).map(({ kind }) => kind).sort();
    expect(kinds).toEqual(['no-room', 'reserved', 'reserved']);
    expect(await readSums(database, { backend: BACKEND })).toMatchObject({
      bytes: 8 * GiB,
      count: 2,
      reservedBytes: 8 * GiB,
    });
  });

  test('of one key at once one entry is made for the one workflow', async () => {
    const lock = await holding(url, sql`select 1 from backends for update`);
    const both = Promise.all([
      insertPopulatingEntry(database, reservation(key)),
      insertPopulatingEntry(database, reservation(key)),
    ]);
    await untilBlocked(database, { count: 2 });
    await lock.commit();
    const [one, two] = await both;
    expect(one).toMatchObject({ kind: 'reserved' });
    expect(two).toEqual(one);
    expect(await readSums(database, { backend: BACKEND })).toMatchObject({ count: 1 });
  });

  test('new volumes are admitted while a reservation holds the backend', async () => {
    const lock = await holding(url, sql`select 1 from backends for no key update`);
    expect(await insertVolume(database, admittance(key))).toMatchObject({ kind: 'admitted' });
    await lock.commit();
  });
});

describe('join against join and answer', () => {
  const verdict = { kind: 'bypass', reason: 'no-room' } as const;
  const flightKey = { backend: BACKEND, shortKey: key.short };

  test('of volumes that join a cold key at once exactly one leads', async () => {
    const volumes = [await admitted(database, key), await admitted(database, key), await admitted(database, key)];
    const lock = await holding(url, sql`select 1 from volumes for update`);
    const joins = Promise.all(volumes.map((volume) => joinFlight(database, joining(volume, key))));
    await untilBlocked(database, { count: 3 });
    await lock.commit();
    const outcomes = await joins;
    expect(outcomes.map((outcome) => (outcome.kind === 'waiting' ? outcome.role : outcome.kind)).sort()).toEqual([
      'joined',
      'joined',
      'leader',
    ]);
    expect(await waitersOf(database, { ...flightKey, flight: 1, limit: 10 })).toHaveLength(3);
  });

  test('a join that waits for the answer leads the next flight', async () => {
    const [early, late] = [await admitted(database, key), await admitted(database, key)];
    await joinFlight(database, joining(early, key));
    await updateFlightRun(database, { ...flightKey, runId: 'run 1' });
    const answer = await openTransaction(url);
    expect(await answerFlight(answer.database, { ...flightKey, flight: 1, runId: 'run 1', verdict })).toBe(true);
    const join = joinFlight(database, joining(late, key));
    await untilBlocked(database, { text: 'populations' });
    await answer.commit();
    expect(await join).toEqual({ kind: 'waiting', flight: 2, role: 'leader', runId: null, answeredRunId: 'run 1' });
    expect(await waitersOf(database, { ...flightKey, flight: 1, limit: 10 })).toMatchObject([{ id: early.id }]);
    expect(await joinFlight(database, joining(early, key))).toMatchObject({
      kind: 'waiting',
      flight: 2,
      role: 'joined',
    });
  });

  test('an answer that waits for a join finds it among its waiters', async () => {
    const [early, late] = [await admitted(database, key), await admitted(database, key)];
    await joinFlight(database, joining(early, key));
    await updateFlightRun(database, { ...flightKey, runId: 'run 1' });
    const lock = await holding(url, sql`select 1 from volumes where id = ${late.id} for update`);
    const join = joinFlight(database, joining(late, key));
    await untilBlocked(database, { text: 'from volumes' });
    const answer = answerFlight(database, { ...flightKey, flight: 1, runId: 'run 1', verdict });
    await untilBlocked(database, { count: 2, text: 'update populations' });
    await lock.commit();
    expect(await join).toMatchObject({ kind: 'waiting', flight: 1, role: 'joined' });
    expect(await answer).toBe(true);
    expect(await waitersOf(database, { ...flightKey, flight: 1, limit: 10 })).toHaveLength(2);
  });

  test('a join whose volume is deleted while it waits leaves nothing behind', async () => {
    const volume = await admitted(database, key);
    const remove = await holding(url, markingDeleting(volume.id));
    const join = joinFlight(database, joining(volume, key));
    await untilBlocked(database, { text: 'from volumes' });
    await remove.commit();
    expect(await join).toEqual({ kind: 'not-creating', state: 'deleting' });
    expect(await findFlight(database, flightKey)).toBeUndefined();
  });
});

describe('complete against delete', () => {
  test('a delete that waits for the completion deletes a finished volume', async () => {
    await readyEntry(database, key);
    const { volume } = await leased(database, key);
    const complete = await openTransaction(url);
    await completeVolume(complete.database, completion(volume));
    const remove = markDeleting(database, { volumeId: volume.id, scope: 'all projects' });
    await untilBlocked(database, { text: 'from volumes' });
    await complete.commit();
    expect(await remove).toEqual({ kind: 'delete', backend: BACKEND });
  });

  test('a completion that waits for the delete completes nothing and records nothing', async () => {
    await readyEntry(database, key);
    const { volume, entryId } = await leased(database, key);
    const remove = await holding(url, markingDeleting(volume.id));
    const complete = completeVolume(database, completion(volume));
    await untilBlocked(database, { text: 'update volumes' });
    await remove.commit();
    expect(await complete).toEqual({ kind: 'not-creating', state: 'deleting' });
    expect(await findVolume(database, { volumeId: volume.id, scope: 'all projects' })).toMatchObject({
      connection: null,
      holdsEntry: true,
    });
    expect(await findEntry(database, { entryId })).toMatchObject({ clones: 1 });
  });

  test('a failure that waits for the delete releases the lease and leaves the row to it', async () => {
    await readyEntry(database, key);
    const { volume, entryId } = await leased(database, key);
    const remove = await holding(url, markingDeleting(volume.id));
    const fail = markFailed(database, { volumeId: volume.id, runId: volume.runId, to: 'error', decision: DECISION });
    await untilBlocked(database);
    await remove.commit();
    await fail;
    expect(await findVolume(database, { volumeId: volume.id, scope: 'all projects' })).toMatchObject({
      state: 'deleting',
      holdsEntry: false,
    });
    expect(await findEntry(database, { entryId })).toMatchObject({ clones: 0 });
  });

  test('two deletes that finish at once take one clone off the parent', async () => {
    await readyEntry(database, key);
    const { volume, entryId } = await available(database, key);
    await available(database, key);
    await markDeleting(database, { volumeId: volume.id, scope: 'all projects' });
    const first = await openTransaction(url);
    await markDeleted(first.database, { volumeId: volume.id, source: SOURCE });
    const second = markDeleted(database, { volumeId: volume.id, source: SOURCE });
    await untilBlocked(database);
    await first.commit();
    await second;
    expect(await findEntry(database, { entryId })).toMatchObject({ clones: 1 });
  });
});

/** The change of `markDeleting`, whose transaction ends by itself. */
function markingDeleting(volumeId: VolumeId): SQL {
  return sql`update volumes set state_before_delete = state, state = 'deleting' where id = ${volumeId}`;
}
