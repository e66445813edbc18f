import { randomUUID } from 'node:crypto';
import { holdSize, insertVolume, insertVolumes, markFailed, type InsertVolumeOutcome } from '../../../db/creates';
import { connectDatabase } from '../../../db/client';
import { ensureInstallation, findInternalTenant, noteConfigured } from '../../../db/installation';
import { selectQuotas, writeQuotas } from '../../../db/quotas';
import { insertSnapshot, markSnapshotDeleted, markSnapshotDeleting, markSnapshotFailed } from '../../../db/snapshots';
import { markDeleted, markDeleting, revertDeleting } from '../../../db/volumes';
import { GiB, TiB } from '../../../workflows/contract/bytes';
import type { ProjectId, SnapshotId, VolumeId } from '../../../workflows/contract/ids';
import type { Quotas, SetQuotasInput } from '../../../workflows/contract/quotas';
import { useInventory } from '../../support/database/database';
import {
  admittance,
  cacheKey,
  completeVolume,
  completion,
  DECISION,
  newVolumeId,
  PROJECT,
  registerLocal,
  SOURCE,
} from '../../support/database/rows';

const { database, url } = useInventory(async (inventory) => {
  await registerLocal(inventory);
  await ensureInstallation(inventory);
});

const key = cacheKey('debian 12');
const other = 'other' as ProjectId;
const internalTenant = { projectId: 'service', userId: 'cinder' };

const configure = (quotas: Partial<Quotas>, snapshotBytesCount = true) =>
  noteConfigured(database, { internalTenant, quotas, snapshotBytesCount });
const set = (quotas: SetQuotasInput['quotas'], projectId = PROJECT) =>
  writeQuotas(database, { projectId, quotas, by: 'root', source: SOURCE });

function admit(more: Parameters<typeof admittance>[1] = {}): Promise<InsertVolumeOutcome> {
  return insertVolume(database, admittance(key, more));
}

async function admitted(more: Parameters<typeof admittance>[1] = {}) {
  const outcome = await admit(more);
  if (outcome.kind !== 'admitted') throw new Error(`it is ${outcome.kind}`);
  return outcome.volume;
}

/** One request for several volumes. */
function bulk(count: number, sizeBytes = GiB) {
  const { volumeId: _id, name: _name, ...shared } = admittance(key, { sizeBytes });
  return {
    ...shared,
    volumes: Array.from({ length: count }, () => ({ volumeId: newVolumeId(), name: null, own: {} })),
    deadRunIds: [],
  };
}

/** @returns what a project uses, as it is noted, and as its rows have it. */
async function usage(projectId = PROJECT) {
  const [row] = await selectQuotas(database, { scope: { projectId }, limit: 1 });
  const [real] = await database.sql<{ volumes: number; bytes: number }[]>`
    select count(*)::int as volumes, coalesce(sum(size_bytes), 0)::float8 as bytes from volumes
    where project_id = ${projectId} and state in ('creating', 'available', 'deleting')`;
  expect([row?.used.volumes, row?.used.bytes]).toEqual([real?.volumes, real?.bytes]);
  return { volumes: row?.used.volumes, bytes: row?.used.bytes };
}

test('without a quota there is no limit, and what is used is known', async () => {
  for (let volume = 0; volume < 3; volume += 1) await admitted({ sizeBytes: TiB });
  expect(await usage()).toEqual({ volumes: 3, bytes: 3 * TiB });
  expect(await usage(other)).toEqual({ volumes: 0, bytes: 0 });
});

describe.each([
  ['configured', configure],
  ['set', set],
])('a quota that is %s', (_, limit) => {
  test('of volumes names the numbers', async () => {
    await limit({ volumes: 2 });
    for (let volume = 0; volume < 2; volume += 1) await admitted();
    expect(await admit()).toEqual({ kind: 'over-quota', quota: 'volumes', limit: 2, used: 2, asked: 1 });
    expect(await usage()).toEqual({ volumes: 2, bytes: 2 * GiB });
  });

  test('of bytes counts the sizes', async () => {
    await limit({ bytes: 5 * GiB });
    await admitted({ sizeBytes: 3 * GiB });
    const refused = { kind: 'over-quota', quota: 'bytes', limit: 5 * GiB, used: 3 * GiB, asked: 3 * GiB };
    expect(await admit({ sizeBytes: 3 * GiB })).toEqual(refused);
    await admitted({ sizeBytes: 2 * GiB });
    expect(await admit({ sizeBytes: 512 })).toMatchObject({ quota: 'bytes', asked: 512 });
  });

  test('of one volume looks at each', async () => {
    await limit({ volumeBytes: GiB });
    const refused = { kind: 'over-quota', quota: 'volumeBytes', limit: GiB, used: 0, asked: GiB + 512 };
    expect(await admit({ sizeBytes: GiB + 512 })).toEqual(refused);
    await admitted({ sizeBytes: GiB });
  });

  test('of nothing allows nothing', async () => {
    await limit({ volumes: 0 });
    expect(await admit()).toMatchObject({ kind: 'over-quota', limit: 0 });
  });
});

test('what an operator has set for a project holds in place of what is configured, until it is taken back', async () => {
  await configure({ volumes: 1, volumeBytes: GiB });
  await admitted();
  expect(await set({ volumes: 2 })).toEqual({ volumes: 2 });
  await admitted();
  expect(await admit()).toMatchObject({ quota: 'volumes', limit: 2 });
  expect(await set({ volumes: null, volumeBytes: null })).toEqual({ volumes: null, volumeBytes: null });
  await admitted({ sizeBytes: TiB });
  expect(await admit({ sizeBytes: TiB, projectId: other })).toMatchObject({ quota: 'volumeBytes' });
  expect(await set({ volumeBytes: 'default' })).toEqual({ volumes: null });
  expect(await set({ volumeBytes: 'default' })).toEqual({ volumes: null });
  expect(await admit({ sizeBytes: TiB })).toMatchObject({ quota: 'volumeBytes', limit: GiB });
});

test('projects count apart', async () => {
  await configure({ volumes: 1 });
  await admitted();
  await admitted({ projectId: other });
  expect(await admit()).toMatchObject({ kind: 'over-quota' });
  expect(await usage(other)).toEqual({ volumes: 1, bytes: GiB });
});

test('one that is asked for again counts once, and one that is there is answered whatever the quota is', async () => {
  await configure({ volumes: 1, bytes: GiB });
  const volume = await admitted();
  const again = { volumeId: volume.id };
  expect(await admit(again)).toMatchObject({ kind: 'admitted' });
  expect(await usage()).toEqual({ volumes: 1, bytes: GiB });
  await configure({ volumes: 0, bytes: 0, volumeBytes: 0 });
  expect(await admit(again)).toMatchObject({ kind: 'admitted' });
  await completeVolume(database, { ...completion(volume), sizeBytes: GiB });
  expect(await admit(again)).toMatchObject({ kind: 'available' });
  expect(await admit({ ...again, request: { other: true } })).toMatchObject({ kind: 'conflict' });
});

test('what ends gives its share back, and what comes back takes it again', async () => {
  await configure({ volumes: 1 });
  const volume = await admitted();
  await markFailed(database, { volumeId: volume.id, runId: volume.runId, to: 'error', decision: DECISION });
  expect(await usage()).toEqual({ volumes: 0, bytes: 0 });
  const second = await admitted({ sizeBytes: null });
  expect(await usage()).toEqual({ volumes: 1, bytes: 0 });
  expect(await admit({ volumeId: volume.id, runId: 'again' })).toMatchObject({ kind: 'over-quota', asked: 1 });
  await completeVolume(database, { ...completion(second), sizeBytes: 2 * GiB });
  expect(await usage()).toEqual({ volumes: 1, bytes: 2 * GiB });
  const deleted = { volumeId: second.id, scope: 'all projects' } as const;
  await markDeleting(database, deleted);
  expect(await usage()).toEqual({ volumes: 1, bytes: 2 * GiB });
  await revertDeleting(database, { volumeId: second.id, usedBy: 'a QEMU process', source: SOURCE });
  await markDeleting(database, deleted);
  await markDeleted(database, { volumeId: second.id, source: SOURCE });
  expect(await usage()).toEqual({ volumes: 0, bytes: 0 });
  expect(await admit({ volumeId: volume.id, runId: 'again' })).toMatchObject({ kind: 'admitted' });
});

test('a size that becomes known late is counted once, or refused', async () => {
  await configure({ volumes: 2, bytes: 3 * GiB, volumeBytes: 2 * GiB });
  const [first, second] = [await admitted({ sizeBytes: null }), await admitted({ sizeBytes: null })];
  const hold = ({ id: volumeId, runId }: { id: VolumeId; runId: string }, sizeBytes: number) =>
    holdSize(database, { volumeId, runId, sizeBytes });
  expect(await hold(first, 2 * GiB + 512)).toEqual({
    quota: 'volumeBytes',
    limit: 2 * GiB,
    used: 0,
    asked: 2 * GiB + 512,
  });
  expect(await usage()).toEqual({ volumes: 2, bytes: 0 });
  for (let time = 0; time < 2; time += 1) expect(await hold(first, 2 * GiB)).toBeUndefined();
  expect(await usage()).toEqual({ volumes: 2, bytes: 2 * GiB });
  expect(await hold(second, 2 * GiB)).toEqual({ quota: 'bytes', limit: 3 * GiB, used: 2 * GiB, asked: 2 * GiB });
  expect(await hold({ id: second.id, runId: 'another' }, GiB)).toBeUndefined();
  expect(await usage()).toEqual({ volumes: 2, bytes: 2 * GiB });
});

test('a row that changes its size or its project by hand is counted as it is', async () => {
  const { id } = await admitted();
  await database.sql`update volumes set size_bytes = ${2 * GiB}, project_id = ${other} where id = ${id}`;
  expect(await usage()).toEqual({ volumes: 0, bytes: 0 });
  expect(await usage(other)).toEqual({ volumes: 1, bytes: 2 * GiB });
  await database.sql`delete from volumes where id = ${id}`;
  expect(await usage(other)).toEqual({ volumes: 0, bytes: 0 });
});

describe('volumes of one request', () => {
  test('are admitted as a whole', async () => {
    await configure({ volumes: 3 });
    expect(await insertVolumes(database, bulk(4))).toEqual({
      kind: 'over-quota',
      quota: 'volumes',
      limit: 3,
      used: 0,
      asked: 4,
    });
    expect(await usage()).toEqual({ volumes: 0, bytes: 0 });
    expect(await insertVolumes(database, bulk(3))).toMatchObject({ kind: 'admitted' });
    expect(await insertVolumes(database, bulk(1))).toMatchObject({ kind: 'over-quota', used: 3 });
  });

  test('count by their bytes together, and those that are there not again', async () => {
    await configure({ bytes: 4 * GiB });
    const request = bulk(3);
    expect(await insertVolumes(database, request)).toMatchObject({ kind: 'admitted' });
    const more = bulk(2).volumes;
    const larger = { ...request, volumes: [...request.volumes, ...more] };
    expect(await insertVolumes(database, larger)).toMatchObject({ quota: 'bytes', used: 3 * GiB, asked: 2 * GiB });
    const oneMore = { ...request, volumes: [...request.volumes, ...more.slice(1)] };
    expect(await insertVolumes(database, oneMore)).toMatchObject({ kind: 'admitted' });
    expect(await usage()).toEqual({ volumes: 4, bytes: 4 * GiB });
  });
});

describe('of creates at once', () => {
  const SESSIONS = 16;
  const atOnce = async <Outcome>(work: (pool: typeof database) => Promise<Outcome>, times = SESSIONS) => {
    const pool = connectDatabase(url, { maxConnections: SESSIONS });
    try {
      return await Promise.all(Array.from({ length: times }, () => work(pool)));
    } finally {
      await pool.close();
    }
  };
  const countOf = (outcomes: { kind: string }[], wanted: string) =>
    outcomes.filter(({ kind }) => kind === wanted).length;

  test.each([
    ['volumes', { volumes: 5 }],
    ['bytes', { bytes: 5 * GiB }],
  ])('exactly as many are admitted as the quota of %s allows', async (_, quotas) => {
    await configure(quotas);
    const outcomes = await atOnce((pool) => insertVolume(pool, admittance(key)));
    expect([countOf(outcomes, 'admitted'), countOf(outcomes, 'over-quota')]).toEqual([5, SESSIONS - 5]);
    expect(await usage()).toEqual({ volumes: 5, bytes: 5 * GiB });
  });

  test('with a limit of the backend besides, of several requests as a whole, none overshoots', async () => {
    await configure({ volumes: 16 });
    const promise = { overSubscription: 1, totalBytes: TiB };
    const outcomes = await atOnce((pool) => insertVolumes(pool, { ...bulk(5), promise }));
    expect([countOf(outcomes, 'admitted'), countOf(outcomes, 'over-quota')]).toEqual([3, SESSIONS - 3]);
    expect(await usage()).toEqual({ volumes: 15, bytes: 15 * GiB });
  });

  test('the same volume counts once', async () => {
    await configure({ volumes: 1 });
    const volumeId: VolumeId = newVolumeId();
    const outcomes = await atOnce((pool) => insertVolume(pool, admittance(key, { volumeId })));
    expect(countOf(outcomes, 'admitted')).toBe(SESSIONS);
    expect(await usage()).toEqual({ volumes: 1, bytes: GiB });
  });

  test('a project waits for its own creates only, and without a quota for none', async () => {
    await set({ volumes: 9 });
    await database.sql.begin(async (transaction) => {
      await transaction`select quota_room(true, ${PROJECT}, ${'{}'}, 1)`;
      const outcomes = await atOnce((pool) => insertVolume(pool, admittance(key, { projectId: other })), 2);
      expect(countOf(outcomes, 'admitted')).toBe(2);
    });
    await set({ volumes: 'default' });
    await database.sql.begin(async (transaction) => {
      await transaction`select quota_room(true, ${PROJECT}, ${'{}'}, 1)`;
      expect(countOf(await atOnce((pool) => insertVolume(pool, admittance(key)), 2), 'admitted')).toBe(2);
    });
  });
});

describe('snapshots', () => {
  const request = { scope: 'all projects', name: null, description: null, metadata: {} } as const;
  const take = async (
    volumeId: VolumeId,
    more: { snapshotId?: SnapshotId; runId?: string; forCopy?: boolean } = {},
  ) => {
    const { snapshotId = randomUUID() as SnapshotId, runId = 'run', forCopy } = more;
    const row = { ...request, volumeId, snapshotId, forCopy, workflowId: `snapshot/${snapshotId}`, runId };
    return { snapshotId, ...(await insertSnapshot(database, row)) };
  };
  const makeVolume = async (sizeBytes = GiB): Promise<VolumeId> => {
    const volume = await admitted({ sizeBytes });
    await completeVolume(database, { ...completion(volume), sizeBytes });
    return volume.id;
  };
  /** @returns what a project uses, as it is noted, and as its rows have it. */
  const used = async () => {
    const [row] = await selectQuotas(database, { scope: { projectId: PROJECT }, limit: 1 });
    const [real] = await database.sql<{ snapshots: number }[]>`select count(*)::int as snapshots from snapshots
      where project_id = ${PROJECT} and state in ('creating', 'available', 'deleting') and not for_copy`;
    expect(row?.used.snapshots).toBe(real?.snapshots);
    return row?.used;
  };

  test('are counted, their bytes with those of volumes, and refused by either quota', async () => {
    const volumeId = await makeVolume(2 * GiB);
    await configure({ snapshots: 1, bytes: 5 * GiB });
    const first = await take(volumeId);
    expect(first).toMatchObject({ kind: 'admitted' });
    expect(await used()).toEqual({ volumes: 1, snapshots: 1, bytes: 4 * GiB });
    const refused = { kind: 'over-quota', projectId: PROJECT, quota: 'snapshots', limit: 1, used: 1, asked: 1 };
    expect(await take(volumeId)).toMatchObject(refused);
    await set({ snapshots: null });
    expect(await take(volumeId)).toMatchObject({ quota: 'bytes', limit: 5 * GiB, used: 4 * GiB, asked: 2 * GiB });
    expect(await admit({ sizeBytes: 2 * GiB })).toMatchObject({ kind: 'over-quota', quota: 'bytes', used: 4 * GiB });
    // Asked for again it counts once.
    expect(await take(volumeId, first)).toMatchObject({ kind: 'admitted' });
    expect(await used()).toMatchObject({ snapshots: 1 });
    const [row] = await database.sql<
      { clones: number }[]
    >`select coalesce(sum(clones), 0)::int as clones from cache_entries`;
    expect(row).toEqual({ clones: 0 });
  });

  test('count by their number alone where the installation says so', async () => {
    const volumeId = await makeVolume();
    await configure({ bytes: GiB }, false);
    expect(await take(volumeId)).toMatchObject({ kind: 'admitted' });
    expect(await used()).toEqual({ volumes: 1, snapshots: 1, bytes: GiB });
    expect(await admit({ sizeBytes: GiB })).toMatchObject({ quota: 'bytes', used: GiB });
  });

  test('give their share back when they end, and a snapshot for a copy takes none', async () => {
    const volumeId = await makeVolume();
    await configure({ snapshots: 1 });
    const { snapshotId } = await take(volumeId);
    const copy = await take(volumeId, { forCopy: true });
    expect(copy).toMatchObject({ kind: 'admitted' });
    expect(await used()).toMatchObject({ snapshots: 1, bytes: 2 * GiB });
    await markSnapshotFailed(database, { snapshotId, source: { workflowId: 'w', runId: 'run' } });
    expect(await used()).toMatchObject({ snapshots: 0, bytes: GiB });
    const next = await take(volumeId);
    await markSnapshotDeleting(database, { snapshotId: next.snapshotId, scope: 'all projects' });
    expect(await take(volumeId)).toMatchObject({ kind: 'over-quota' });
    await markSnapshotDeleted(database, { snapshotId: next.snapshotId, source: SOURCE });
    expect(await take(volumeId)).toMatchObject({ kind: 'admitted' });
    await database.sql`delete from snapshots`;
    expect(await used()).toMatchObject({ snapshots: 0, bytes: GiB });
  });

  test('of one project at once are exactly as many as its quota allows, beside volumes', async () => {
    const volumeIds = await Promise.all(Array.from({ length: 6 }, () => makeVolume()));
    await configure({ bytes: 9 * GiB });
    const outcomes = await Promise.all([
      ...volumeIds.map((volumeId) => take(volumeId)),
      ...volumeIds.map(() => admit()),
    ]);
    expect(outcomes.filter(({ kind }) => kind === 'admitted')).toHaveLength(3);
    expect(await used()).toMatchObject({ bytes: 9 * GiB });
  });
});

test('a list has the projects with volumes or quotas of their own, page by page', async () => {
  await configure({ volumes: 7 });
  expect(await selectQuotas(database, { scope: 'all projects', limit: 10 })).toEqual([]);
  await admitted();
  await set({ bytes: null }, other);
  const all = await selectQuotas(database, { scope: 'all projects', limit: 10 });
  const configured = { limit: 7, setBy: null, setAt: null };
  expect(all).toMatchObject([
    { projectId: PROJECT, used: { volumes: 1, bytes: GiB }, quotas: { volumes: configured, bytes: { limit: null } } },
    { projectId: other, used: { volumes: 0 }, quotas: { volumes: configured, bytes: { limit: null, setBy: 'root' } } },
  ]);
  const [first] = await selectQuotas(database, { scope: 'all projects', limit: 1 });
  expect(first).toEqual(all[0]);
  const page = await selectQuotas(database, { scope: 'all projects', limit: 10, after: first?.projectId });
  expect(page).toEqual(all.slice(1));
});

test('who owns image-volumes is known once a worker has started', async () => {
  expect(await findInternalTenant(database)).toBeUndefined();
  await configure({});
  expect(await findInternalTenant(database)).toEqual(internalTenant);
});
