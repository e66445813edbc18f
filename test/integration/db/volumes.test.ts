import { findEntry } from '../../../db/entries/entries';
import { quarantineEntry } from '../../../db/entries/retirement';
import { listDecisions } from '../../../db/report/decisions';
import { insertVolume, markFailed, releaseLeases } from '../../../db/creates';
import { markDeleting, findVolume, markDeleted, revertDeleting } from '../../../db/volumes';
import { selectVolumes } from '../../../db/volume-lists';
import { acquireEntry } from '../../../db/acquire';
import { setAttached } from '../../support/attach';
import type { ProjectId } from '../../../workflows/contract/ids';
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
  CONNECTION,
  DECISION,
  leased,
  readyEntry,
  registerLocal,
  acquirement,
} from '../../support/database/rows';

const { database } = useInventory(registerLocal);

const key = cacheKey('debian 12');

describe('insertVolume', () => {
  test('makes a row in one statement and answers the same when it is repeated', async () => {
    const request = admittance(key);
    const before = database.statements();
    const first = await insertVolume(database, request);
    expect(database.statements() - before).toBe(1);
    expect(first).toMatchObject({
      kind: 'admitted',
      volume: { id: request.volumeId, state: 'creating', bootable: false, holdsEntry: false },
    });
    expect(await insertVolume(database, request)).toMatchObject({
      kind: 'admitted',
      volume: { createdAt: expect.any(Date) },
    });
    expect(await selectVolumes(database, { scope: 'all projects', limit: 10 })).toHaveLength(1);
  });

  test('treats requests that differ only in the order of their keys as the same', async () => {
    const request = admittance(key, { request: { a: 1, b: 2 } });
    await insertVolume(database, request);
    expect(await insertVolume(database, { ...request, request: { b: 2, a: 1 } })).toMatchObject({ kind: 'admitted' });
  });

  test('refuses another request for the same id and tells its content to its own project only', async () => {
    const request = admittance(key);
    await insertVolume(database, request);
    const other = { ...request, request: { imageId: 'another' } };
    expect(await insertVolume(database, other)).toEqual({
      kind: 'conflict',
      found: expect.stringContaining(request.imageId ?? ''),
    });
    expect(await insertVolume(database, { ...other, projectId: 'foreign' as ProjectId })).toEqual({
      kind: 'conflict',
      found: 'a request of another project',
    });
  });

  test.each([
    ['the same workflow', {}],
    ['another workflow', { workflowId: 'other' }],
  ])(
    'lets a new run of %s take over from a dead one, with its lease, and the dead run do nothing more',
    async (_whose, more) => {
      await readyEntry(database, key);
      const { volume, entryId } = await leased(database, key);
      const request = admittance(key, { volumeId: volume.id, runId: 'second run', ...more });
      for (const deadRunId of [undefined, 'a run that had it before'])
        expect(await insertVolume(database, { ...request, deadRunId })).toMatchObject({
          kind: 'busy',
          runId: volume.runId,
        });
      const taken = await insertVolume(database, { ...request, deadRunId: volume.runId });
      expect(taken).toMatchObject({ kind: 'admitted', volume: { runId: 'second run', entryId, holdsEntry: true } });
      expect(await completeVolume(database, completion(volume))).toEqual({ kind: 'not-creating', state: 'creating' });
      await markFailed(database, { volumeId: volume.id, runId: volume.runId, to: 'error', decision: DECISION });
      expect(await findVolume(database, { volumeId: volume.id, scope: 'all projects' })).toMatchObject({
        state: 'creating',
        holdsEntry: true,
      });
      const again = await acquireEntry(database, { volumeId: volume.id, runId: 'second run', backend: BACKEND, key });
      expect(again).toMatchObject({ kind: 'leased', entry: { id: entryId } });
      expect(await findEntry(database, { entryId })).toMatchObject({ clones: 1, uses: 1 });
    },
  );

  test('is busy while another workflow creates the volume', async () => {
    const volume = await admitted(database, key);
    expect(
      await insertVolume(database, admittance(key, { volumeId: volume.id, workflowId: 'other', runId: 'other run' })),
    ).toEqual({
      kind: 'busy',
      workflowId: volume.workflowId,
      runId: volume.runId,
    });
  });

  test('answers a finished volume, tries a failed one again and refuses a deleted one', async () => {
    await readyEntry(database, key);
    const { volume } = await available(database, key);
    expect(await insertVolume(database, admittance(key, { volumeId: volume.id, runId: 'later' }))).toMatchObject({
      kind: 'available',
      volume: { connection: CONNECTION },
    });
    const failing = await admitted(database, key);
    const error = { type: 'NoSpace', message: 'backend local has no space' };
    await markFailed(database, { volumeId: failing.id, runId: failing.runId, to: 'error', error, decision: DECISION });
    expect(await findVolume(database, { volumeId: failing.id, scope: 'all projects' })).toMatchObject({
      state: 'error',
      errorType: 'NoSpace',
    });
    expect(
      await insertVolume(database, admittance(key, { volumeId: failing.id, workflowId: 'w', runId: 'r' })),
    ).toMatchObject({
      kind: 'admitted',
      volume: { state: 'creating', errorType: null, errorMessage: null, entryId: null },
    });
    await markDeleting(database, { volumeId: volume.id, scope: 'all projects' });
    expect(await insertVolume(database, admittance(key, { volumeId: volume.id }))).toEqual({ kind: 'deleted' });
    await markDeleted(database, { volumeId: volume.id, source: SOURCE });
    expect(await insertVolume(database, admittance(key, { volumeId: volume.id }))).toEqual({ kind: 'deleted' });
  });
});

describe('acquireEntry', () => {
  test('leases the entry in one statement; repeated it returns the same and bumps nothing', async () => {
    const entry = await readyEntry(database, key);
    const volume = await admitted(database, key);
    const request = acquirement(volume, key);
    const before = database.statements();
    const first = await acquireEntry(database, request);
    expect(database.statements() - before).toBe(1);
    expect(first).toEqual({
      kind: 'leased',
      entry: { id: entry.id, imageVolume: entry.imageVolume, virtualBytes: entry.virtualBytes, generation: 1 },
    });
    expect(await acquireEntry(database, request)).toEqual(first);
    expect(await findEntry(database, { entryId: entry.id })).toMatchObject({ clones: 1, uses: 1 });
    expect(await findVolume(database, { volumeId: volume.id, scope: 'all projects' })).toMatchObject({
      entryId: entry.id,
      holdsEntry: true,
    });
  });

  test('is cold without an entry, with one that is still populating, and for a full one', async () => {
    const volume = await admitted(database, key);
    const request = acquirement(volume, key);
    expect(await acquireEntry(database, request)).toEqual({ kind: 'cold', atCloneLimit: false });
    await readyEntry(database, key);
    expect(await acquireEntry(database, { ...request, cloneLimit: 0 })).toEqual({ kind: 'cold', atCloneLimit: true });
    await registerLocal(database, { limits: { cloneLimit: 0 } });
    expect(await acquireEntry(database, { ...request, cloneLimit: 10 })).toEqual({ kind: 'cold', atCloneLimit: true });
  });

  test('tells a collision of short keys apart from a cold key', async () => {
    await readyEntry(database, key);
    const volume = await admitted(database, key);
    const other = cacheKey('something else', { short: key.short });
    const request = acquirement(volume, other);
    expect(await acquireEntry(database, request)).toEqual({ kind: 'collision' });
  });

  test('refuses a volume that is not creating or belongs to another run', async () => {
    await readyEntry(database, key);
    const volume = await admitted(database, key);
    expect(await acquireEntry(database, { volumeId: volume.id, runId: 'dead', backend: BACKEND, key })).toEqual({
      kind: 'not-creating',
      state: 'creating',
    });
    await markDeleting(database, { volumeId: volume.id, scope: 'all projects' });
    expect(await acquireEntry(database, acquirement(volume, key))).toEqual({
      kind: 'not-creating',
      state: 'deleting',
    });
  });

  test('takes the next generation after the lease on a quarantined parent was given back', async () => {
    const first = await readyEntry(database, key);
    const { volume } = await leased(database, key);
    await quarantineEntry(database, { entryId: first.id, found: 'absent' });
    const lease = { volumeId: volume.id, runId: volume.runId };
    for (let time = 1; time <= 2; time += 1) await releaseLeases(database, { ...lease, volumeIds: [volume.id] });
    expect(await findEntry(database, { entryId: first.id })).toMatchObject({ clones: 0, state: 'retired' });
    const second = await readyEntry(database, key);
    expect(second).toMatchObject({ generation: 2, uses: 1 });
    expect(await acquireEntry(database, { ...lease, backend: BACKEND, key })).toMatchObject({
      kind: 'leased',
      entry: { id: second.id },
    });
  });
});

describe('completeVolume', () => {
  test('makes the volume available with its decision in one statement and answers the same run again', async () => {
    await readyEntry(database, key);
    const { volume, entryId } = await leased(database, key);
    const before = database.statements();
    const first = await completeVolume(database, completion(volume));
    expect(database.statements() - before).toBe(1);
    expect(first).toMatchObject({
      kind: 'completed',
      volume: {
        state: 'available',
        bootable: true,
        connection: CONNECTION,
        outcome: 'hit',
        entryId,
        holdsEntry: true,
        availableAt: expect.any(Date),
      },
    });
    expect(await completeVolume(database, completion(volume))).toEqual({ ...first, saved: undefined });
    const decisions = await listDecisions(database, { volumeId: volume.id, limit: 10 });
    expect(decisions).toMatchObject([{ outcome: 'hit', entryId, reason: DECISION.reason, timingsMs: { acquire: 3 } }]);
    expect(await findEntry(database, { entryId })).toMatchObject({ clones: 1 });
  });

  test('ends the lease where clones live without their parent', async () => {
    await registerLocal(database, { clonesPinParent: false });
    await readyEntry(database, key);
    const { volume, entryId } = await available(database, key);
    expect(volume).toMatchObject({ entryId, holdsEntry: false });
    expect(await findEntry(database, { entryId })).toMatchObject({ clones: 0, uses: 1 });
    await markDeleting(database, { volumeId: volume.id, scope: 'all projects' });
    await markDeleted(database, { volumeId: volume.id, source: SOURCE });
    expect(await findEntry(database, { entryId })).toMatchObject({ clones: 0 });
  });
});

describe('markFailed', () => {
  test('releases the lease once and tells the parent that may go, however often it is called', async () => {
    await readyEntry(database, key);
    const { volume, entryId } = await leased(database, key);
    await quarantineEntry(database, { entryId, found: 'absent' });
    const failure = {
      volumeId: volume.id,
      runId: volume.runId,
      to: 'error' as const,
      error: { type: 'ParentUnusable', message: 'gone' },
      decision: DECISION,
    };
    const first = await markFailed(database, failure);
    expect(first).toEqual({ freedEntry: { entryId, imageVolume: expect.any(String), backend: BACKEND } });
    expect(await markFailed(database, failure)).toEqual(first);
    expect(await findEntry(database, { entryId })).toMatchObject({ clones: 0 });
    expect(await listDecisions(database, { volumeId: volume.id, limit: 10 })).toMatchObject([
      { outcome: 'failed', errorType: 'ParentUnusable' },
    ]);
  });

  test('leaves a row that a delete has taken over to the delete', async () => {
    await readyEntry(database, key);
    const { volume, entryId } = await leased(database, key);
    await markDeleting(database, { volumeId: volume.id, scope: 'all projects' });
    expect(
      await markFailed(database, { volumeId: volume.id, runId: volume.runId, to: 'deleted', decision: DECISION }),
    ).toEqual({});
    expect(await findVolume(database, { volumeId: volume.id, scope: 'all projects' })).toMatchObject({
      state: 'deleting',
      holdsEntry: false,
    });
    await markDeleted(database, { volumeId: volume.id, source: SOURCE });
    expect(await findEntry(database, { entryId })).toMatchObject({ clones: 0 });
  });

  test('never undoes a volume that is available', async () => {
    await readyEntry(database, key);
    const { volume } = await available(database, key);
    await markFailed(database, { volumeId: volume.id, runId: volume.runId, to: 'error', decision: DECISION });
    expect(await findVolume(database, { volumeId: volume.id, scope: 'all projects' })).toMatchObject({
      state: 'available',
      holdsEntry: true,
    });
  });
});

describe('deleting', () => {
  test('goes from available to deleted, frees the retired parent with the last clone and answers repetitions the same', async () => {
    await readyEntry(database, key);
    const one = await available(database, key);
    const two = await available(database, key);
    await quarantineEntry(database, { entryId: one.entryId, found: 'changed' });
    const begin = { kind: 'delete', backend: BACKEND };
    expect(await markDeleting(database, { volumeId: one.volume.id, scope: 'all projects' })).toEqual(begin);
    expect(await markDeleting(database, { volumeId: one.volume.id, scope: 'all projects' })).toEqual(begin);
    expect(await markDeleted(database, { volumeId: one.volume.id, source: SOURCE })).toEqual({});
    await markDeleting(database, { volumeId: two.volume.id, scope: 'all projects' });
    const freed = { freedEntry: { entryId: one.entryId, imageVolume: expect.any(String), backend: BACKEND } };
    expect(await markDeleted(database, { volumeId: two.volume.id, source: SOURCE })).toEqual(freed);
    expect(await markDeleted(database, { volumeId: two.volume.id, source: SOURCE })).toEqual(freed);
    expect(await findEntry(database, { entryId: one.entryId })).toMatchObject({ clones: 0 });
    expect(await markDeleting(database, { volumeId: two.volume.id, scope: 'all projects' })).toEqual({
      kind: 'deleted',
    });
  });

  test('names the run that still creates the volume, each time it is asked', async () => {
    const volume = await admitted(database, key);
    const creating = { kind: 'creating', workflowId: volume.workflowId, runId: volume.runId, backend: BACKEND };
    expect(await markDeleting(database, { volumeId: volume.id, scope: 'all projects' })).toEqual(creating);
    expect(await markDeleting(database, { volumeId: volume.id, scope: 'all projects' })).toEqual(creating);
    expect(await completeVolume(database, completion(volume))).toEqual({ kind: 'not-creating', state: 'deleting' });
  });

  test('refuses an attached volume, and goes back when the backend sees an opener', async () => {
    await readyEntry(database, key);
    const { volume } = await available(database, key);
    expect(await setAttached(database, { volumeId: volume.id, attachedTo: 'vm-1' })).toBe(true);
    expect(await markDeleting(database, { volumeId: volume.id, scope: 'all projects' })).toEqual({
      kind: 'in-use',
      by: 'vm-1',
    });
    await setAttached(database, { volumeId: volume.id, attachedTo: null });
    await markDeleting(database, { volumeId: volume.id, scope: 'all projects' });
    expect(await setAttached(database, { volumeId: volume.id, attachedTo: 'vm-2' })).toBe(false);
    expect(await revertDeleting(database, { volumeId: volume.id, usedBy: 'a QEMU process', source: SOURCE })).toEqual({
      kind: 'restored',
      state: 'available',
    });
    expect(await revertDeleting(database, { volumeId: volume.id, usedBy: 'a QEMU process', source: SOURCE })).toEqual({
      kind: 'not-deleting',
      state: 'available',
    });
  });

  test('of a volume that nobody knows is absent', async () => {
    expect(await markDeleting(database, { volumeId: admittance(key).volumeId, scope: 'all projects' })).toEqual({
      kind: 'absent',
    });
  });
});

test('volumes are listed newest first, page by page, without the deleted ones', async () => {
  const ids = [];
  for (let index = 0; index < 5; index += 1) ids.unshift((await admitted(database, key)).id);
  const first = await selectVolumes(database, { scope: 'all projects', limit: 3 });
  const second = await selectVolumes(database, { scope: 'all projects', limit: 3, afterId: first[2]?.id });
  expect([...first, ...second].map(({ id }) => id)).toEqual(ids);
  const [newest] = ids;
  if (newest === undefined) throw new Error('no volume');
  await markDeleting(database, { volumeId: newest, scope: 'all projects' });
  await markDeleted(database, { volumeId: newest, source: SOURCE });
  expect(await selectVolumes(database, { scope: 'all projects', limit: 10 })).toHaveLength(4);
  expect(await selectVolumes(database, { scope: 'all projects', limit: 10, state: 'deleted' })).toHaveLength(1);
  expect(await selectVolumes(database, { scope: { projectId: 'nobody' as ProjectId }, limit: 10 })).toHaveLength(0);
});
