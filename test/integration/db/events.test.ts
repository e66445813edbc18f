import { randomUUID } from 'node:crypto';
import { changeLimits } from '../../../db/backends';
import { recordVolumeEvent, listEvents, type EventQuery } from '../../../db/events';
import { pinEntries } from '../../../db/evictions/evictor';
import { markFound, markMissing } from '../../../db/reconcile/reconcile-volumes';
import { recordDecision } from '../../../db/report/decisions';
import { deleteExpired } from '../../../db/retention';
import { findVolume, markDeleted, markDeleting, revertDeleting } from '../../../db/volumes';
import type { ImageId, ProjectId, VolumeId } from '../../../workflows/contract/ids';
import { useInventory } from '../../support/database/database';
import {
  available,
  BACKEND,
  cacheKey,
  IMAGE,
  newVolumeId,
  PROJECT,
  readyEntry,
  registerLocal,
  SOURCE,
} from '../../support/database/rows';

const { database } = useInventory(registerLocal);

const scope = 'all projects';
const DAY_MS = 86_400_000;
const kept = { events: 30 * DAY_MS, decisions: 30 * DAY_MS, goneRows: 30 * DAY_MS };

const list = (query: Partial<EventQuery> = {}) => listEvents(database, { scope, limit: 100, ...query });
const kindsOf = async (query: Partial<EventQuery> = {}) => (await list(query)).map(({ kind }) => kind);

/** A volume that alice has made of a cached image with this content. */
async function madeByAlice(content = 'debian 12'): Promise<VolumeId> {
  const key = cacheKey(content);
  await readyEntry(database, key);
  const { volume } = await available(database, key, { by: 'alice', requestId: 'req-1' });
  return volume.id;
}

async function deleted(volumeId: VolumeId): Promise<void> {
  const source = { by: 'bob', requestId: 'req-2', workflowId: `delete/${volumeId}`, runId: 'run 2' };
  await markDeleting(database, { volumeId, scope });
  for (let time = 0; time < 2; time += 1) await markDeleted(database, { volumeId, source });
}

test('who has made a volume and who has deleted it is told once, with the image, the entry and the request', async () => {
  const volumeId = await madeByAlice();
  await deleted(volumeId);
  const about = { volumeId, imageId: IMAGE, projectId: PROJECT, backend: BACKEND, entryId: expect.any(String) };
  expect(await list({ volumeId })).toEqual([
    expect.objectContaining({
      ...about,
      kind: 'volume.deleted',
      object: volumeId,
      requestedBy: 'bob',
      requestId: 'req-2',
      workflowId: `delete/${volumeId}`,
      detail: { name: 'root disk', sizeBytes: expect.any(Number) },
      at: expect.any(Date),
    }),
    expect.objectContaining({
      ...about,
      kind: 'volume.created',
      object: volumeId,
      requestedBy: 'alice',
      requestId: 'req-1',
      detail: { outcome: 'hit', reason: expect.any(String) },
    }),
  ]);
});

test('events of a volume, an image, a project, a request, a kind and a while are found apart', async () => {
  const volumeId = await madeByAlice();
  await deleted(volumeId);
  const other = newVolumeId();
  await recordDecision(database, {
    volumeId: other,
    projectId: 'other' as ProjectId,
    backend: BACKEND,
    imageId: 'other' as ImageId,
    outcome: 'refused',
    reason: 'it is queued',
    workflowId: 'w',
    runId: 'r',
  });
  const both = ['volume.deleted', 'volume.created'];
  const refused = ['volume.create-refused'];
  expect(await kindsOf({ volumeId })).toEqual(both);
  expect(await kindsOf({ scope: { projectId: PROJECT } })).toEqual(both);
  expect(await kindsOf({ scope: { projectId: 'other' as ProjectId } })).toEqual(refused);
  expect(await kindsOf({ imageId: 'other' as ImageId })).toEqual(refused);
  expect(await kindsOf({ imageId: IMAGE })).toEqual([...both, 'entry.registered']);
  expect(await kindsOf({ requestId: 'req-2' })).toEqual(['volume.deleted']);
  expect(await kindsOf({ kind: 'volume' })).toEqual([...refused, ...both]);
  expect(await kindsOf({ kind: 'volume.created' })).toEqual(['volume.created']);
  expect(await kindsOf({ kind: 'entry' })).toEqual(['entry.registered']);
  expect(await kindsOf({ since: new Date(Date.now() + DAY_MS) })).toEqual([]);
  expect(await kindsOf({ backend: BACKEND })).toHaveLength(4);
});

test('the pages of a list have each event once, whatever table tells it and though several are of one instant', async () => {
  for (const content of ['one', 'two', 'three']) await deleted(await madeByAlice(content));
  await database.sql`update decisions set at = '2026-01-01' where id = 1`;
  await database.sql`update events set at = '2026-01-01'`;
  await database.sql`update entry_events set at = '2026-01-01'`;
  const all = (await list()).map(({ id }) => id);
  expect(all).toHaveLength(9);
  const paged: string[] = [];
  for (let page = await list({ limit: 2 }); page.length > 0; page = await list({ limit: 2, after: paged.at(-1) }))
    paged.push(...page.map(({ id }) => id));
  expect(paged).toEqual(all);
});

test.each(['c999', 'x1', '', 'c1; drop'])('a page after the event %j, which is not kept, is refused', async (after) => {
  await expect(list({ after })).rejects.toMatchObject({ type: 'InvalidRequest', details: { field: 'after' } });
});

test('what is refused or found out about a volume is told, and what changes nothing is not', async () => {
  const volumeId = await madeByAlice();
  await markDeleting(database, { volumeId, scope });
  for (let time = 0; time < 2; time += 1)
    await revertDeleting(database, { volumeId, usedBy: 'a QEMU process', source: SOURCE });
  for (let time = 0; time < 2; time += 1) {
    await markMissing(database, { volumeId, message: 'it is gone', source: SOURCE });
    await recordVolumeEvent(database, { kind: 'volume.flattened', volumeId, ...SOURCE });
    await markFound(database, { volumeId, source: SOURCE });
  }
  expect(await list({ volumeId, kind: 'volume.delete-refused' })).toMatchObject([
    { detail: { usedBy: 'a QEMU process' } },
  ]);
  expect((await kindsOf({ volumeId })).sort()).toEqual([
    'volume.created',
    'volume.delete-refused',
    'volume.flattened',
    'volume.found',
    'volume.missing',
  ]);
});

test('what an operator does is told with his name and his request, each time anew', async () => {
  const { id: entryId } = await readyEntry(database, cacheKey('debian 12'));
  await pinEntries(database, { target: { entryId }, pinned: true, by: 'carol', requestId: 'pin-1' });
  expect(await list({ entryId, kind: 'entry.pinned' })).toMatchObject([
    { requestedBy: 'carol', requestId: 'pin-1', object: entryId },
  ]);
  for (const requestId of ['limits-1', 'limits-2', 'limits-2']) {
    const source = { requestId, workflowId: 'evict/local', runId: `run/${requestId}` };
    await changeLimits(database, { backend: BACKEND, limits: { maxCount: 7 }, by: 'carol', source });
  }
  const told = { object: BACKEND, requestedBy: 'carol', detail: { limits: { maxCount: 7 } } };
  expect(await list({ kind: 'limits' })).toMatchObject([
    { ...told, requestId: 'limits-2' },
    { ...told, requestId: 'limits-1' },
  ]);
});

test('what is older than it is kept is deleted in batches, and events outlive the rows that they tell of', async () => {
  const old = await madeByAlice();
  await deleted(old);
  const young = await madeByAlice('debian 13');
  await deleted(young);
  await database.sql`update volumes set deleted_at = now() - interval '31 days' where id = ${old}`;
  await database.sql`update events set at = now() - interval '29 days'`;
  expect(await deleteExpired(database, { kept, mostRows: 10 })).toBe(1);
  expect(await findVolume(database, { volumeId: old, scope })).toBeUndefined();
  expect(await findVolume(database, { volumeId: young, scope })).toMatchObject({ state: 'deleted' });
  expect(await kindsOf({ volumeId: old })).toEqual(['volume.created', 'volume.deleted']);

  await database.sql`update events set at = now() - interval '31 days' where volume_id = ${old}`;
  await database.sql`update decisions set at = now() - interval '31 days' where volume_id = ${old}`;
  await database.sql`insert into entry_events (at, entry_id, backend, short_key, kind)
    select now() - interval '31 days', ${randomUUID()}, ${BACKEND}, 'k', 'retired' from generate_series(1, 2500)`;
  let batches = 0;
  const onBatch = () => void (batches += 1);
  expect(await deleteExpired(database, { kept, mostRows: 2000, onBatch })).toBe(2002);
  expect(batches).toBe(7);
  expect(await deleteExpired(database, { kept, mostRows: 2000 })).toBe(500);
  expect(await list({ volumeId: old })).toEqual([]);
  expect(await kindsOf({ volumeId: young })).toHaveLength(2);
});

test('a volume that exists is never deleted, however old', async () => {
  const volumeId = await madeByAlice();
  await database.sql`update volumes set created_at = '2020-01-01', updated_at = '2020-01-01'`;
  await deleteExpired(database, { kept, mostRows: 10 });
  expect(await findVolume(database, { volumeId, scope })).toMatchObject({ state: 'available' });
});
