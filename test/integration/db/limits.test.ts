import { randomUUID } from 'node:crypto';
import * as fc from 'fast-check';
import { chooseEvictions, toVictims, type Demand } from '../../../activities/eviction/choose-evictions';
import { scoreOf } from '../../../activities/eviction/score';
import { connectDatabase } from '../../../db/client';
import { lockBackend, registerBackend } from '../../../db/backends';
import {
  abandonReservation,
  registerReady,
  insertPopulatingEntry,
  reserveFreed,
  type ReservationRequest,
} from '../../../db/entries/reservations';
import { confirmEntryGone, quarantineEntry, retireEntry } from '../../../db/entries/retirement';
import { findEntry, listEntries } from '../../../db/entries/entries';
import { pinEntries } from '../../../db/evictions/evictor';
import { scoreEntries } from '../../../db/evictions/entry-scores';
import { readSums } from '../../../db/entries/entries';
import { listDeleting } from '../../../db/evictions/evictor';
import { markForEviction } from '../../../db/evictions/victims';
import { insertVolume, markFailed } from '../../../db/creates';
import { markDeleting, markDeleted } from '../../../db/volumes';
import { selectVolumes } from '../../../db/volume-lists';
import { acquireEntry } from '../../../db/acquire';
import { inTransaction } from '../../../db/statement';
import type { EntryRow } from '../../../db/schema';
import type { BackendName, EntryId } from '../../../workflows/contract/ids';
import { useInventory } from '../../support/database/database';
import {
  SOURCE,
  admittance,
  cacheKey,
  completeVolume,
  completion,
  DECISION,
  IMAGE,
  LIMITS,
  PROJECT,
  reservation,
  markVictims,
} from '../../support/database/rows';

const SEED = 20_260_117;
const RUNS = 30;
const MAX_BYTES = 100;
const MAX_COUNT = 4;
const KEYS = 2;
const ACTORS = 5;

const { database, url } = useInventory();

/** One population, one user, one operator, of key number `key`. `dies`: after how many of its steps it is never heard of again. */
type Action =
  | { do: 'populate'; key: number; bytes: number; measured: number; abandon: boolean; dies: number }
  | { do: 'create'; key: number; owner: number; end: 'keep' | 'remove' | 'fail' | 'die' }
  | { do: 'retire' | 'quarantine' | 'pin' | 'unpin'; key: number; owner: number }
  | { do: 'evict'; count: number | null; dies: number }
  | { do: 'score' }
  /** A session that is cut somewhere in the middle of a reservation, or of a choice of victims. */
  | { do: 'cut'; key: number; bytes: number; choosing: boolean };

const key = fc.integer({ min: 0, max: KEYS - 1 });
/** The actor whose keys it is about. */
const owner = fc.integer({ min: 0, max: ACTORS - 1 });
const bytes = fc.integer({ min: 1, max: MAX_BYTES + 5 });
/** Mostly late enough to live. */
const dies = fc.constantFrom(1, 2, 3, 99, 99, 99, 99);
const is = <Word extends string>(word: Word) => fc.constant(word);
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: is('populate'),
      key,
      bytes,
      measured: fc.double({ min: 0, max: 1, noNaN: true }),
      abandon: fc.boolean(),
      dies,
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: is('create'), key, owner, end: fc.constantFrom('keep', 'remove', 'fail', 'die') }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constantFrom('retire', 'quarantine', 'pin', 'unpin'), key, owner }),
  },
  { weight: 2, arbitrary: fc.record({ do: is('evict'), count: fc.constantFrom(null, 1, 2), dies }) },
  { weight: 1, arbitrary: fc.record({ do: is('score') }) },
  { weight: 1, arbitrary: fc.record({ do: is('cut'), key, bytes, choosing: fc.boolean() }) },
);

test('limits never overshoot and no leased parent goes, whatever populates, clones, evicts, pins, fails and dies at the same time', async () => {
  expect.hasAssertions();
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(action, { minLength: 1, maxLength: 9 }), { minLength: 2, maxLength: ACTORS }),
      fc.constantFrom('gdsf' as const, 'lru' as const),
      async (actors, policy) => {
        const backend = `b-${randomUUID().slice(0, 8)}` as BackendName;
        const limits = { ...LIMITS, maxBytes: MAX_BYTES, maxCount: MAX_COUNT, policy };
        await registerBackend(database, {
          name: backend,
          driver: 'file',
          capabilities: { clonesPinParent: true },
          limits,
        });
        await Promise.all(actors.map((actions, actor) => runActor({ backend, actor, actions })));
        await expectCountedClones(backend);
        await expectNoPinnedVictim(backend);
        await cleanUp(backend);
        await expectWithinLimits(backend);
      },
    ),
    { seed: SEED, numRuns: RUNS, endOnFailure: true },
  );
});

interface Actor {
  backend: BackendName;
  actor: number;
  actions: Action[];
}

async function runActor({ backend, actor, actions }: Actor): Promise<void> {
  for (const each of actions) {
    await act(backend, actor, each);
    await expectWithinLimits(backend);
  }
}

/** A key has one population at a time, as its workflow id sees to; so each actor populates keys of its own and uses those of all. */
async function act(backend: BackendName, actor: number, asked: Action): Promise<void> {
  switch (asked.do) {
    case 'populate':
      return populate(backend, { ...asked, key: asked.key * 10 + actor });
    case 'cut':
      return cut(backend, { ...asked, key: asked.key * 10 + actor });
    case 'create':
      return create(backend, { ...asked, key: asked.key * 10 + asked.owner });
    case 'evict':
      return evict(backend, asked);
    case 'score':
      return void (await scoreEntries(database, { backend, staleMs: 0, score: scoreOf }));
    case 'retire':
    case 'quarantine':
    case 'pin':
    case 'unpin':
      return change(backend, { ...asked, key: asked.key * 10 + asked.owner });
  }
}

function wantedOf(backend: BackendName, { key: number, bytes: wanted }: { key: number; bytes: number }) {
  return reservation(cacheKey(`${number}`), { backend, bytes: wanted, workflowId: `populate/${backend}/${number}` });
}

async function populate(backend: BackendName, request: Extract<Action, { do: 'populate' }>): Promise<void> {
  const entry = await reserveWithRoom(wantedOf(backend, request), request.dies);
  if (!entry || request.dies <= 2) return;
  if (request.abandon) {
    await abandonReservation(database, { entryId: entry.id });
    return;
  }
  const realBytes = Math.floor(request.measured * request.bytes);
  await registerReady(database, {
    entryId: entry.id,
    virtualBytes: 512,
    realBytes,
    costSeconds: 1 + realBytes,
    imageId: IMAGE,
    projectId: PROJECT,
  });
}

/** Dies with what it has reserved, or with victims that are marked and perhaps deleted. */
async function reserveWithRoom(wanted: ReservationRequest, diesAt: number): Promise<EntryRow | undefined> {
  const first = await insertPopulatingEntry(database, wanted);
  if (first.kind === 'reserved') return first.entry;
  if (first.kind !== 'no-room') return undefined;
  const choice = await markVictims(database, wanted);
  await expectWithinLimits(wanted.backend);
  if (choice.kind === 'none' || diesAt <= 1) return undefined;
  await expectUnleased(choice.deleting);
  const second = await reserveFreed(database, { ...wanted, freedEntryIds: choice.deleting.map(({ id }) => id) });
  return second.kind === 'reserved' ? second.entry : undefined;
}

/** A transaction is committed or not; in between there is nothing. */
async function cut(backend: BackendName, request: Extract<Action, { do: 'cut' }>): Promise<void> {
  const session = connectDatabase(url, { maxConnections: 1, applicationName: 'test victim' });
  try {
    const [row] = await session.sql<{ pid: number }[]>`select pg_backend_pid() as pid`;
    const wanted = wantedOf(backend, request);
    const work = request.choosing ? markVictims(session, wanted) : insertPopulatingEntry(session, wanted);
    await Promise.allSettled([work, database.sql`select pg_terminate_backend(${row?.pid ?? 0}::int)`]);
  } finally {
    await session.sql.end({ timeout: 0 });
  }
}

async function create(backend: BackendName, { key: number, end }: Extract<Action, { do: 'create' }>): Promise<void> {
  const wanted = cacheKey(`${number}`);
  const admission = await insertVolume(database, admittance(wanted, { backend }));
  if (admission.kind !== 'admitted') throw new Error(`the volume is ${admission.kind}`);
  const { volume } = admission;
  const { id: volumeId, runId } = volume;
  const acquired = await acquireEntry(database, { volumeId, runId, backend, key: wanted, cloneLimit: 2 });
  if (end === 'die') return;
  // Between the two the clone is made: its parent must be there.
  if (acquired.kind === 'leased') await expectPresent(acquired.entry.id);
  if (end === 'fail') {
    await markFailed(database, { volumeId, runId, to: 'error', decision: DECISION });
    return;
  }
  if (acquired.kind === 'leased') await completeVolume(database, completion(volume));
  if (end === 'keep') return;
  await markDeleting(database, { volumeId, scope: 'all projects' });
  await markDeleted(database, { volumeId, source: SOURCE });
}

async function change(
  backend: BackendName,
  { do: what, key: number }: Extract<Action, { do: 'retire' | 'quarantine' | 'pin' | 'unpin' }>,
): Promise<void> {
  const shortKey = cacheKey(`${number}`).short;
  const [entry] = await listEntries(database, { backend, shortKey, state: 'ready', limit: 1 });
  if (!entry) return;
  const entryId = entry.id;
  if (what === 'retire') await retireEntry(database, { entryId, reason: 'requested' });
  if (what === 'quarantine') await quarantineEntry(database, { entryId, found: 'changed' });
  if (what === 'pin') await pinEntries(database, { target: { entryId }, pinned: true, by: 'alice' });
  if (what === 'unpin')
    await pinEntries(database, {
      backend,
      target: { entryId },
      pinned: false,
      by: 'alice',
      workflowId: `evict/${backend}`,
    });
}

async function evict(backend: BackendName, { count, dies: diesAt }: Extract<Action, { do: 'evict' }>): Promise<void> {
  const demand: Demand = count === null ? { kind: 'sweep' } : { kind: 'rank', count, why: 'asked for' };
  const taken = await markForEviction(database, {
    backend,
    entryIds: [],
    workflowId: `evict/${backend}`,
    choose: (view) => toVictims(chooseEvictions(view, [demand])),
  });
  await expectUnleased(taken.deleting);
  for (const { id } of taken.deleting.slice(0, diesAt)) await confirmEntryGone(database, { entryId: id });
}

async function expectWithinLimits(backend: BackendName): Promise<void> {
  const {
    bytes: counted,
    count,
    reservedBytes,
  } = await inTransaction(database, async (transaction) => {
    await lockBackend(transaction, { name: backend });
    return await readSums(transaction, { backend });
  });
  expect(counted).toBeLessThanOrEqual(MAX_BYTES);
  expect(count).toBeLessThanOrEqual(MAX_COUNT);
  expect(reservedBytes).toBeLessThanOrEqual(counted);
}

async function expectPresent(entryId: EntryId): Promise<void> {
  expect((await findEntry(database, { entryId }))?.state).toMatch(/^(?:ready|retired)$/);
}

async function expectUnleased(entries: EntryRow[]): Promise<void> {
  for (const { id } of entries) {
    const row = await findEntry(database, { entryId: id });
    expect(row).toMatchObject({ clones: 0, state: expect.stringMatching(/^(?:deleting|gone)$/) });
  }
}

async function expectCountedClones(backend: BackendName): Promise<void> {
  const volumes = await selectVolumes(database, { scope: 'all projects', backend, limit: 1000 });
  for (const entry of await listEntries(database, { backend, limit: 1000 })) {
    const holders = volumes.filter(({ entryId, holdsEntry }) => holdsEntry && entryId === entry.id);
    expect(entry.clones).toBe(holders.length);
    expect(entry.clones).toBeLessThanOrEqual(2);
    expect({ ...entry, held: entry.clones > 0 }).not.toMatchObject({
      held: true,
      state: expect.stringMatching(/populating|deleting|gone/),
    });
  }
}

async function expectNoPinnedVictim(backend: BackendName): Promise<void> {
  const victims = await database.sql`
    select id from cache_entries where backend = ${backend} and pinned and reason = 'evicted'`;
  expect([...victims]).toEqual([]);
}

/** Work that the dead have left is finished by the next sweep, and by the populations of the same keys. */
async function cleanUp(backend: BackendName): Promise<void> {
  for (const { id } of await listDeleting(database, { backend, limit: 1000 }))
    await confirmEntryGone(database, { entryId: id });
  for (const { id } of await listEntries(database, { backend, state: 'populating', limit: 1000 }))
    await abandonReservation(database, { entryId: id });
  const left = await readSums(database, { backend });
  expect(left.reservedBytes).toBe(0);
  const entries = await listEntries(database, { backend, limit: 1000 });
  const sum = (of: EntryRow[]) => of.reduce((total, { realBytes }) => total + realBytes, 0);
  expect(left).toMatchObject({
    bytes: sum(entries.filter(({ counted }) => counted)),
    pinnedBytes: sum(entries.filter(({ counted }) => !counted)),
  });
}
