import { randomUUID } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  createSnapshot,
  deleteSnapshot,
  deleteVolume,
  getSnapshot,
  listSnapshots,
  reconcile,
  type CreateSnapshotInput,
} from '../../../client';
import { retireEntry } from '../../../db/entries/retirement';
import type { EntryId } from '../../../workflows/contract/ids';
import { holdAsGuest } from '../../support/images/qemu';
import { readIvc } from '../../support/stack/ivc';
import { expectCleanSlate, useStack } from '../../support/stack/flows';

const flow = useStack();

const take = async (volumeId: string, input: Partial<CreateSnapshotInput> = {}) =>
  (await createSnapshot(flow.stack.cache, { volumeId, ...input }, {})).result;
const remove = async (snapshotId: string) => await deleteSnapshot(flow.stack.cache, snapshotId);
const filesOf = (snapshotId: string): string[] =>
  ['snapshots', 'partial-snapshots']
    .flatMap((folder) => readdirSync(join(flow.stack.volumesDirectory, folder)))
    .filter((name) => name.startsWith(snapshotId));

describe('snapshots', () => {
  afterEach(() => expectCleanSlate(flow.stack));

  it('are taken, read, listed and deleted, and the same request again is the same snapshot', async () => {
    const { image } = await flow.upload('taken');
    const { volumeId, projectId, sizeBytes } = await flow.create(image);
    const snapshotId = randomUUID();
    const input = { snapshotId, name: 'before', description: 'of the upgrade', metadata: { a: '1' } };
    const made = await take(volumeId, input);
    expect(made).toMatchObject({ snapshotId, volumeId, projectId, sizeBytes, name: 'before' });
    expect(await take(volumeId, input)).toEqual(made);
    expect(await getSnapshot(flow.stack.cache, snapshotId, { projectId })).toMatchObject({
      ...made,
      state: 'available',
      description: 'of the upgrade',
      metadata: { a: '1' },
    });
    expect(await listSnapshots(flow.stack.cache, { volumeId })).toMatchObject([{ snapshotId }]);
    expect(await flow.entriesOf(image)).toMatchObject([{ clones: 2 }]);
    expect(await remove(snapshotId)).toMatchObject({ snapshotId, outcome: 'deleted' });
    expect(await remove(snapshotId)).toMatchObject({ outcome: 'absent' });
    expect(filesOf(snapshotId)).toEqual([]);
    expect(await flow.entriesOf(image)).toMatchObject([{ clones: 1 }]);
    await expect(take(volumeId, input)).rejects.toMatchObject({ type: 'SnapshotConflict' });
  });

  it('are those of a project: another’s volume and snapshot are not found', async () => {
    const { image } = await flow.upload('foreign');
    const { volumeId } = await flow.create(image);
    const { snapshotId } = await take(volumeId);
    const projectId = 'stranger';
    const { cache } = flow.stack;
    await expect(take(volumeId, { projectId })).rejects.toMatchObject({ type: 'VolumeNotFound' });
    await expect(getSnapshot(cache, snapshotId, { projectId })).rejects.toMatchObject({ type: 'SnapshotNotFound' });
    await expect(deleteSnapshot(cache, snapshotId, { projectId })).rejects.toMatchObject({ type: 'SnapshotNotFound' });
    expect(await listSnapshots(cache, { projectId })).toEqual([]);
    expect(await getSnapshot(cache, snapshotId)).toMatchObject({ state: 'available' });
  });

  it('are refused of what is no available volume, and of a wrong field', async () => {
    const volumeId = randomUUID();
    await expect(take(volumeId)).rejects.toMatchObject({ type: 'VolumeNotFound', details: { volumeId } });
    await expect(take('my-volume')).rejects.toMatchObject({ type: 'InvalidRequest', details: { field: 'volumeId' } });
    await expect(take(volumeId, { name: 'x'.repeat(256) })).rejects.toMatchObject({
      type: 'InvalidRequest',
      details: { field: 'name' },
    });
  });

  it('are refused while a guest writes where the backend takes none then, and the next request takes it', async () => {
    const { image } = await flow.upload('open');
    const { volumeId, connection } = await flow.create(image);
    if (connection.driver !== 'file') throw new Error(connection.driver);
    const letGo = await holdAsGuest({ filename: connection.path, format: connection.format });
    const snapshotId = randomUUID();
    await expect(take(volumeId, { snapshotId })).rejects.toMatchObject({ type: 'VolumeInUse' });
    await letGo();
    expect(await getSnapshot(flow.stack.cache, snapshotId)).toMatchObject({
      state: 'error',
      error: { type: 'VolumeInUse' },
    });
    expect(filesOf(snapshotId)).toEqual([]);
    expect(await flow.entriesOf(image)).toMatchObject([{ clones: 1 }]);
    expect(await take(volumeId, { snapshotId })).toMatchObject({ snapshotId });
    expect(await flow.entriesOf(image)).toMatchObject([{ clones: 2 }]);
  });

  it('keep their volume from being deleted, unless they are deleted with it, and their retired parent until the last is gone', async () => {
    const { image } = await flow.upload('kept');
    const { volumeId } = await flow.create(image);
    const [first, second] = [await take(volumeId), await take(volumeId)];
    const { cache, database } = flow.stack;
    await expect(deleteVolume(cache, volumeId)).rejects.toMatchObject({
      type: 'VolumeHasSnapshots',
      details: { volumeId, snapshots: expect.stringContaining(second.snapshotId) as string },
    });
    expect(await flow.volume(volumeId)).toMatchObject({ state: 'available' });
    const entryId = (await flow.volume(volumeId))?.entryId as EntryId;
    expect(await retireEntry(database, { entryId, reason: 'superseded' })).toMatchObject({ deletable: false });
    expect(await deleteVolume(cache, volumeId, { cascade: true })).toMatchObject({
      outcome: 'deleted',
      deletedParent: entryId,
      deletedSnapshots: [first.snapshotId, second.snapshotId],
    });
    expect(await flow.entriesOf(image)).toEqual([]);
  });

  it('without a row are reported and stay, and so are rows without their snapshot', async () => {
    const { image } = await flow.upload('reconciled');
    const { volumeId } = await flow.create(image);
    const { snapshotId } = await take(volumeId);
    const { cache, backend, database } = flow.stack;
    const lost = randomUUID();
    const rename = async (from: string, to: string) =>
      void (await database.sql`update snapshots set id = ${to} where id = ${from}`);
    const found = async () => (await reconcile(cache, { backend }, {})).result.findings;
    await rename(snapshotId, lost);
    expect(await found()).toMatchObject([
      { kind: 'snapshot-without-row', object: snapshotId, action: 'reported' },
      { kind: 'snapshot-missing', object: lost, action: 'reported' },
    ]);
    expect(filesOf(snapshotId)).not.toEqual([]);
    await rename(lost, snapshotId);
    expect(await found()).toEqual([]);
    await deleteVolume(cache, volumeId, { cascade: true });
  });
});

test('ivc snapshot create, list, show and delete, and ivc volume delete --cascade', async () => {
  const { image } = await flow.upload('cli');
  const { volumeId } = await flow.create(image);
  const ivc = async (...args: string[]) => await readIvc(args, flow.stack.environment);
  const made = await ivc('snapshot', 'create', volumeId, '--name', 'before', '--metadata', 'a=1');
  expect(made).toMatchObject({ exitCode: 0, document: { volumeId, name: 'before' } });
  const snapshotId = String(made.document['snapshotId']);
  expect(await ivc('snapshot', 'show', snapshotId)).toMatchObject({ exitCode: 0, document: { state: 'available' } });
  const listed = await ivc('snapshot', 'list', '--volume', volumeId);
  expect(listed.document).toMatchObject({ snapshots: [{ snapshotId }], next: null });
  expect(await ivc('volume', 'delete', volumeId)).toMatchObject({
    exitCode: 1,
    document: { error: { type: 'VolumeHasSnapshots' } },
  });
  expect(await ivc('snapshot', 'delete', snapshotId)).toMatchObject({ document: { outcome: 'deleted' } });
  expect(await ivc('snapshot', 'show', randomUUID())).toMatchObject({ exitCode: 3 });
  expect(await ivc('volume', 'delete', volumeId, '--cascade')).toMatchObject({ document: { outcome: 'deleted' } });
});
