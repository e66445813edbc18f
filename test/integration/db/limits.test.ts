import { randomUUID } from 'node:crypto';
import * as fc from 'fast-check';
import { registerBackend } from '../../../db/queries/backends';
import {
  abandonReservation,
  listEntries,
  registerReady,
  reserveEntry,
  reserveFreed,
  retireEntry,
  sums,
  type ReservationRequest,
} from '../../../db/queries/cache-entries';
import {
  acquireEntry,
  admitVolume,
  beginDelete,
  completeVolume,
  finishDelete,
  listVolumes,
} from '../../../db/queries/volumes';
import type { BackendName } from '../../../workflows/contract/ids';
import { createMigratedDatabase, type MigratedDatabase } from '../../support/database';
import { admittance, cacheKey, completion, IMAGE, LIMITS, PROJECT, reservation, takeVictims } from './fixtures';

const SEED = 20_260_117;
const RUNS = 12;
const MAX_BYTES = 100;
const MAX_COUNT = 4;
const KEYS = 2;
const ACTORS = 5;

let inventory: MigratedDatabase;
beforeAll(async () => {
  inventory = await createMigratedDatabase();
});
afterAll(() => inventory.drop());

/** One population, or one user, of key number `key`. */
type Action =
  | { do: 'populate'; key: number; bytes: number; measured: number; abandon: boolean }
  | { do: 'create'; key: number; owner: number; remove: boolean }
  | { do: 'retire'; key: number; owner: number };

const key = fc.integer({ min: 0, max: KEYS - 1 });
/** The actor whose keys it is about. */
const owner = fc.integer({ min: 0, max: ACTORS - 1 });
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('populate' as const),
      key,
      bytes: fc.integer({ min: 1, max: MAX_BYTES + 5 }),
      measured: fc.double({ min: 0, max: 1, noNaN: true }),
      abandon: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('create' as const), key, owner, remove: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('retire' as const), key, owner }) },
);

test('limits never overshoot and clones are counted right, whatever populates, clones, deletes and retires at the same time', async () => {
  expect.hasAssertions();
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(action, { minLength: 1, maxLength: 8 }), { minLength: 2, maxLength: ACTORS }),
      async (actors) => {
        const backend = `b-${randomUUID().slice(0, 8)}` as BackendName;
        const limits = { ...LIMITS, maxBytes: MAX_BYTES, maxCount: MAX_COUNT };
        await registerBackend(inventory.database, {
          name: backend,
          driver: 'file',
          capabilities: { clonesPinParent: true },
          limits,
        });
        await Promise.all(actors.map((actions, actor) => runActor({ backend, actor, actions })));
        await expectCountedClones(backend);
      },
    ),
    { seed: SEED, numRuns: RUNS, endOnFailure: true },
  );
}, 120_000);

async function runActor({
  backend,
  actor,
  actions,
}: {
  backend: BackendName;
  actor: number;
  actions: Action[];
}): Promise<void> {
  for (const each of actions) {
    // A key has one population at a time, as its workflow id sees to; so each actor populates keys of its own and uses those of all.
    if (each.do === 'populate') await populate(backend, { ...each, key: each.key * 10 + actor });
    else if (each.do === 'create') await create(backend, { ...each, key: each.key * 10 + each.owner });
    else await retire(backend, each.key * 10 + each.owner);
    await expectWithinLimits(backend);
  }
}

async function populate(backend: BackendName, request: Extract<Action, { do: 'populate' }>): Promise<void> {
  const { database } = inventory;
  const wanted = reservation(cacheKey(`${request.key}`), {
    backend,
    bytes: request.bytes,
    workflowId: `populate/${request.key}`,
  });
  const entry = await reserveWithRoom(wanted, backend);
  if (!entry) return;
  if (request.abandon) {
    await abandonReservation(database, { entryId: entry.id });
    return;
  }
  const realBytes = Math.floor(request.measured * request.bytes);
  await registerReady(database, {
    entryId: entry.id,
    virtualBytes: 512,
    realBytes,
    costSeconds: 1,
    imageId: IMAGE,
    projectId: PROJECT,
  });
}

async function reserveWithRoom(wanted: ReservationRequest, backend: BackendName) {
  const { database } = inventory;
  const first = await reserveEntry(database, wanted);
  if (first.kind === 'reserved') return first.entry;
  if (first.kind !== 'no-room') return undefined;
  const choice = await takeVictims(database, wanted);
  await expectWithinLimits(backend);
  if (choice.kind === 'none') return undefined;
  const second = await reserveFreed(database, { ...wanted, freedEntryIds: choice.deleting.map(({ id }) => id) });
  return second.kind === 'reserved' ? second.entry : undefined;
}

async function create(backend: BackendName, { key: number, remove }: Extract<Action, { do: 'create' }>): Promise<void> {
  const { database } = inventory;
  const wanted = cacheKey(`${number}`);
  const admission = await admitVolume(database, admittance(wanted, { backend }));
  if (admission.kind !== 'admitted') throw new Error(`the volume is ${admission.kind}`);
  const { volume } = admission;
  const acquired = await acquireEntry(database, {
    volumeId: volume.id,
    runId: volume.runId,
    backend,
    key: wanted,
    cloneLimit: 2,
  });
  if (acquired.kind === 'leased') await completeVolume(database, completion(volume));
  if (!remove) return;
  await beginDelete(database, { volumeId: volume.id });
  await finishDelete(database, { volumeId: volume.id });
}

async function retire(backend: BackendName, number: number): Promise<void> {
  const [entry] = await listEntries(inventory.database, {
    backend,
    shortKey: cacheKey(`${number}`).short,
    state: 'ready',
    limit: 1,
  });
  if (entry) await retireEntry(inventory.database, { entryId: entry.id, reason: 'requested' });
}

async function expectWithinLimits(backend: BackendName): Promise<void> {
  const { bytes, count, reservedBytes } = await sums(inventory.database, { backend });
  expect(bytes).toBeLessThanOrEqual(MAX_BYTES);
  expect(count).toBeLessThanOrEqual(MAX_COUNT);
  expect(reservedBytes).toBeLessThanOrEqual(bytes);
}

async function expectCountedClones(backend: BackendName): Promise<void> {
  const volumes = await listVolumes(inventory.database, { backend, limit: 1000 });
  for (const entry of await listEntries(inventory.database, { backend, limit: 1000 })) {
    const holders = volumes.filter(({ entryId, holdsEntry }) => holdsEntry && entryId === entry.id);
    expect(entry.clones).toBe(holders.length);
    expect(entry.clones).toBeLessThanOrEqual(2);
    expect({ ...entry, held: entry.clones > 0 }).not.toMatchObject({
      held: true,
      state: expect.stringMatching(/populating|deleting|gone/),
    });
  }
}
