import { deleteSnapshot, getSnapshot, shareSnapshot, unshareSnapshot, type ShareSnapshotInput } from '../../../client';
import { createSnapshot } from '../../../client/snapshots';
import { createVolume } from '../../../client/volumes';
import { MiB } from '../../../workflows/contract/bytes';
import type { ImageId, ProjectId } from '../../../workflows/contract/ids';
import type { CreateVolumeResult } from '../../../workflows/contract/volume';
import { isSameGuest, writeAsGuest, type QemuDisk } from '../../support/images/qemu';
import { makeSampleImage, uploadSample } from '../../support/images/sample-image';
import { startStandInKeystone } from '../../support/openstack/stand-in-keystone';
import { expectCleanSlate, useStack } from '../../support/stack/flows';

const flow = useStack(async ({ after }) => {
  const keystone = await startStandInKeystone();
  after(() => keystone.stop());
  const account = { authUrl: keystone.url, username: 'ivc', projectName: 'service' };
  return { config: { identity: account }, environment: { OS_PASSWORD: 'any' } };
});
const [owner, member, stranger] = ['owner', 'member', 'stranger'] as ProjectId[];

const diskOf = ({ connection }: CreateVolumeResult): QemuDisk => {
  if (connection.driver !== 'file') throw new Error(`unexpected driver ${connection.driver}`);
  return { filename: connection.path, format: connection.format };
};
/** A snapshot of a volume of `owner` that was written before and after it was taken. */
const taken = async (name: string) => {
  const sample = await makeSampleImage({ directory: flow.directory, name });
  const image = await uploadSample(flow.stack.images, sample, { name, owner, visibility: 'private' });
  const volume = await flow.create(image, { projectId: owner });
  await writeAsGuest(diskOf(volume), { offset: 2 * MiB, bytes: MiB });
  const { result } = await createSnapshot(flow.stack.cache, { volumeId: volume.volumeId, name }, {});
  const { snapshotId } = result;
  const before = await createVolume(flow.stack.cache, { snapshotId, projectId: owner });
  await writeAsGuest(diskOf(volume), { offset: 8 * MiB, bytes: MiB, pattern: 0x11 });
  return { snapshotId, volume, before };
};
const share = async (input: ShareSnapshotInput) => (await shareSnapshot(flow.stack.cache, input, {})).result;
const unshare = async (snapshotId: string, members?: string[]) =>
  (await unshareSnapshot(flow.stack.cache, { snapshotId, members }, {})).result;
const createFrom = async (imageId: ImageId, projectId: ProjectId | undefined) =>
  await flow.create(await flow.stack.images.getImage(imageId), { projectId });
const notFound = { type: 'ImageNotFound' };

describe('a shared snapshot', () => {
  afterEach(() => expectCleanSlate(flow.stack));

  it('is what its members create volumes from, as it was taken, until it is theirs no more', async () => {
    const { snapshotId, volume, before } = await taken('shared');
    const shared = await share({ snapshotId, members: ['member'], by: 'somebody' });
    expect(shared).toMatchObject({ visibility: 'shared', members: ['member'], name: 'shared', transfer: 'sent' });
    const { imageId } = shared;
    const made = await createFrom(imageId, member);
    expect(await isSameGuest(diskOf(made), diskOf(before))).toBe(true);
    expect(made.projectId).toBe('member');
    await expect(createFrom(imageId, stranger)).rejects.toMatchObject(notFound);
    expect(await unshare(snapshotId, ['member'])).toMatchObject({ outcome: 'members-removed' });
    await expect(createFrom(imageId, member)).rejects.toMatchObject(notFound);
    const again = await share({ snapshotId, members: ['stranger'] });
    expect(again).toMatchObject({ imageId, members: ['stranger'] });
    await createFrom(imageId, stranger);
    await expect(deleteSnapshot(flow.stack.cache, snapshotId)).rejects.toMatchObject({ type: 'InvalidRequest' });
    expect(await unshare(snapshotId)).toMatchObject({ outcome: 'deleted', imageId });
    await expect(flow.stack.images.getImage(imageId)).rejects.toMatchObject(notFound);
    expect(await getSnapshot(flow.stack.cache, snapshotId)).toMatchObject({ sharedImageId: null });
    expect(await unshare(snapshotId)).toMatchObject({ outcome: 'absent' });
    expect(await isSameGuest(diskOf(made), diskOf(before))).toBe(true);
    const events = await (await flow.stack.cache.inventory()).listEvents({ volumeId: volume.volumeId });
    const kinds = events.map(({ kind }) => kind).filter((kind) => kind.startsWith('snapshot.'));
    expect(kinds.toReversed()).toEqual([
      'snapshot.created',
      'snapshot.shared',
      'snapshot.unshared',
      'snapshot.shared',
      'snapshot.unshared',
    ]);
    await deleteSnapshot(flow.stack.cache, snapshotId);
  });

  it('is another image where its owner has deleted the one that was', async () => {
    const { snapshotId } = await taken('deleted');
    const first = await share({ snapshotId, visibility: 'community' });
    await createFrom(first.imageId, stranger);
    await flow.stack.images.deleteImage(first.imageId);
    const second = await share({ snapshotId, visibility: 'community' });
    expect(second.imageId).not.toBe(first.imageId);
    await createFrom(second.imageId, owner);
    await unshare(snapshotId);
  });

  it.each([
    { input: { visibility: 'public', projectId: 'owner' }, field: 'visibility' },
    { input: { visibility: 'community', members: ['member'] }, field: 'members' },
    { input: { visibility: 'private' }, field: 'visibility' },
  ])('is refused: $input', async ({ input, field }) => {
    const { snapshotId } = await taken(`refused-${field}`);
    const asked = { snapshotId, ...input } as ShareSnapshotInput;
    await expect(share(asked)).rejects.toMatchObject({ type: 'InvalidRequest', details: { field } });
    expect(await getSnapshot(flow.stack.cache, snapshotId)).toMatchObject({ sharedImageId: null });
  });
});
