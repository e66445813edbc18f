import { randomUUID } from 'node:crypto';
import { createSnapshot, createVolume, deleteSnapshot, deleteVolume, getVolume, listSnapshots } from '../../../client';
import { MiB } from '../../../workflows/contract/bytes';
import type { CreatePlainVolumeInput } from '../../../workflows/contract/volume';
import { expectCleanSlate, useStack } from '../../support/stack/flows';
import { readIvc } from '../../support/stack/ivc';

const flow = useStack();
const create = async (input: CreatePlainVolumeInput) => await createVolume(flow.stack.cache, input);

describe('volumes of no image', () => {
  afterEach(() => expectCleanSlate(flow.stack));

  it('are empty, of the size that was asked for, and the same request again is the same volume', async () => {
    const volumeId = randomUUID();
    const input = { volumeId, sizeBytes: 5 * MiB, name: 'data', metadata: { a: '1' } };
    const made = await create(input);
    expect(made).toMatchObject({ volumeId, sizeBytes: 5 * MiB, outcome: 'blank', imageId: null, name: 'data' });
    expect(await create(input)).toMatchObject({ volumeId, connection: made.connection });
    expect(await getVolume(flow.stack.cache, volumeId)).toMatchObject({
      state: 'available',
      bootable: false,
      imageMetadata: {},
      metadata: { a: '1' },
    });
    await expect(create({ ...input, sizeBytes: MiB })).rejects.toMatchObject({ type: 'Conflict' });
  });

  it('have a snapshot’s bytes, and what its volume says of its image, also when both are gone', async () => {
    const { image, sample } = await flow.upload('of-snapshot');
    const source = await flow.create(image);
    const { cache, database } = flow.stack;
    await database.sql`update volumes set bootable = true where id = ${source.volumeId}`;
    const { result: snapshot } = await createSnapshot(cache, { volumeId: source.volumeId }, {});
    const made = await create({ snapshotId: snapshot.snapshotId, sizeBytes: 2 * source.sizeBytes });
    expect(made).toMatchObject({ outcome: 'copied', sizeBytes: 2 * source.sizeBytes, imageId: image.id });
    expect(await flow.entriesOf(image)).toMatchObject([{ clones: 3 }]);
    await deleteVolume(cache, source.volumeId, { cascade: true });
    await flow.expectGuestBytes(sample, made);
    expect(await flow.entriesOf(image)).toMatchObject([{ clones: 1 }]);
    expect(await flow.volume(made.volumeId)).toMatchObject({ bootable: true, imageId: image.id });
    expect((await flow.volume(made.volumeId))?.imageMetadata).toMatchObject({ image_id: image.id });
  });

  it('are copies of a volume, by a snapshot that does not stay', async () => {
    const { image, sample } = await flow.upload('of-volume');
    const source = await flow.create(image);
    const made = await create({ sourceVolumeId: source.volumeId });
    expect(made).toMatchObject({ outcome: 'copied', sizeBytes: source.sizeBytes });
    await flow.expectGuestBytes(sample, made);
    expect(await listSnapshots(flow.stack.cache, { volumeId: source.volumeId })).toEqual([]);
    expect(await flow.entriesOf(image)).toMatchObject([{ clones: 2 }]);
  });

  it('are refused of what is not there, is another project’s, or does not fit', async () => {
    const { image } = await flow.upload('refused');
    const { volumeId: sourceVolumeId, sizeBytes } = await flow.create(image);
    const { result } = await createSnapshot(flow.stack.cache, { volumeId: sourceVolumeId }, {});
    const { snapshotId } = result;
    const refused = async (input: CreatePlainVolumeInput) => await create(input).catch((error: unknown) => error);
    const field = (name: string) => ({ type: 'InvalidRequest', details: { field: name } });
    expect(await refused({})).toMatchObject(field('sizeBytes'));
    expect(await refused({ sizeBytes: 1000 })).toMatchObject(field('sizeBytes'));
    expect(await refused({ snapshotId, sourceVolumeId })).toMatchObject(field('sourceVolumeId'));
    expect(await refused({ snapshotId, sizeBytes: sizeBytes - 512 })).toMatchObject(field('sizeBytes'));
    expect(await refused({ sourceVolumeId, sizeBytes: sizeBytes - 512 })).toMatchObject(field('sizeBytes'));
    expect(await refused({ snapshotId: randomUUID() })).toMatchObject({ type: 'SnapshotNotFound' });
    expect(await refused({ sourceVolumeId: randomUUID() })).toMatchObject({ type: 'VolumeNotFound' });
    const projectId = 'stranger';
    expect(await refused({ snapshotId, projectId })).toMatchObject({ type: 'SnapshotNotFound' });
    expect(await refused({ sourceVolumeId, projectId })).toMatchObject({ type: 'VolumeNotFound' });
    await deleteSnapshot(flow.stack.cache, snapshotId);
    expect(await refused({ snapshotId })).toMatchObject({ type: 'SnapshotNotFound' });
  });
});

test('ivc volume create --size, --snapshot and --source-volume', async () => {
  const ivc = async (...args: string[]) => await readIvc(args, flow.stack.environment);
  const blank = await ivc('volume', 'create', '--size', '8MiB', '--name', 'data');
  expect(blank).toMatchObject({ exitCode: 0, document: { outcome: 'blank', sizeBytes: 8 * MiB } });
  const source = String(blank.document['volumeId']);
  const taken = await ivc('snapshot', 'create', source);
  const snapshot = String(taken.document['snapshotId']);
  expect(await ivc('volume', 'create', '--snapshot', snapshot)).toMatchObject({ document: { outcome: 'copied' } });
  expect(await ivc('volume', 'create', '--source-volume', source)).toMatchObject({ document: { outcome: 'copied' } });
  const both = await ivc('volume', 'create', '--snapshot', snapshot, '--image', randomUUID());
  expect(both.exitCode).toBe(2);
});
