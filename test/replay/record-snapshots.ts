import { randomUUID } from 'node:crypto';
import { createSnapshot, deleteSnapshot } from '../../client/snapshots';
import { createVolume, deleteVolume, reimageVolume } from '../../client/volumes';
import { MiB } from '../../workflows/contract/bytes';
import type { SnapshotId, VolumeId } from '../../workflows/contract/ids';
import type { FlowStack } from '../support/stack/flows';
import type { Save } from './record-refresh';

/** Snapshots, volumes that are made of something else than an image, and a volume that gets another image's bytes. */
export async function recordSnapshots(flow: FlowStack, save: Save): Promise<void> {
  const { cache, backend } = flow.stack;
  const { ids } = cache.queues;
  const { image } = await flow.upload('snapshot');
  const { volumeId } = await flow.create(image);
  const snapshotId = randomUUID() as SnapshotId;
  await save('snapshot', await createSnapshot(cache, { volumeId, snapshotId }, { wait: true }));

  await save('blank', await createVolume(cache, { backend, sizeBytes: MiB }));
  await save('of-snapshot', await createVolume(cache, { snapshotId }));
  await save('copy', await createVolume(cache, { sourceVolumeId: volumeId }));
  const absent = randomUUID() as VolumeId;
  await createVolume(cache, { volumeId: absent, snapshotId: randomUUID() }).catch(() => undefined);
  await save('of-snapshot-refused', { workflowId: ids.createVolume(absent) });

  await deleteSnapshot(cache, snapshotId);
  await save('delete-snapshot', { workflowId: ids.deleteSnapshot(snapshotId) });
  await createSnapshot(cache, { volumeId }, { wait: true });
  await deleteVolume(cache, volumeId, { cascade: true });
  await save('delete-cascade', { workflowId: ids.deleteVolume(volumeId) });

  const reimaged = await flow.create(image);
  const cold = await flow.upload('reimage');
  await reimageVolume(cache, reimaged.volumeId, { imageId: cold.image.id });
  await save('reimage-miss', { workflowId: ids.reimageVolume(reimaged.volumeId, cold.image.id) });
  await reimageVolume(cache, reimaged.volumeId, { imageId: image.id });
  await save('reimage', { workflowId: ids.reimageVolume(reimaged.volumeId, image.id) });
  const uncached = await flow.upload('reimage-uncached');
  await reimageVolume(cache, reimaged.volumeId, { imageId: uncached.image.id, bypassCache: true });
  await save('reimage-uncached', { workflowId: ids.reimageVolume(reimaged.volumeId, uncached.image.id) });
}
