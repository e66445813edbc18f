import { v5 as uuidV5 } from 'uuid';
import type { VolumeRow } from '../../db/schema';
import { readVolumes } from '../../db/volumes';
import type { SnapshotId, VolumeId } from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';
import type { CloneOfStored, StoredInVolume, VolumeBackend } from '../backends/backend';
import type { HostDependencies } from '../dependencies';
import { workflowExecution } from '../kit/runs';

/** Where Glance's cinder store says that an image is: `cinder://<store>/<volume id>`. Source: glance_store, `_drivers/cinder.py`. */
const location = /^cinder:\/\/(?:[^/]+\/)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

/** Namespace of the ids of the snapshots from which images are cloned (RFC 9562, version 5). */
const SNAPSHOT_ID_NAMESPACE = '8c2f1f0e-2c57-4a8e-9d52-0d2f5f6f4b19';

/**
 * @returns the volume of ours in which the image service's cinder store keeps an image, where the backend has it. A location alone is no proof, since
 * whoever may write one could name any volume: that is to say itself that it is this image's, and to be read-only. Its bytes are verified after that.
 */
export async function findStoredVolume(
  { database }: Pick<HostDependencies, 'database'>,
  {
    image,
    sizeBytes,
    locations,
    backend,
  }: {
    image: Image;
    sizeBytes: number;
    locations: readonly string[];
    backend: Pick<VolumeBackend, 'name' | 'cloneStoredVolume'>;
  },
): Promise<VolumeRow | undefined> {
  if (backend.cloneStoredVolume === undefined) return undefined;
  const ids = locations.flatMap((url) => location.exec(url)?.[1] ?? []) as VolumeId[];
  const volumes = await readVolumes(database, [...new Set(ids)]);
  return [...volumes.values()].find(
    (volume) =>
      volume.backend === backend.name &&
      volume.state === 'available' &&
      volume.readOnly &&
      volume.metadata['glance_image_id'] === image.id &&
      volume.metadata['image_size'] === String(sizeBytes) &&
      (volume.sizeBytes ?? 0) >= sizeBytes,
  );
}

/** Clones the image from a snapshot of that volume, which is gone afterwards. Undo: `ensureAttemptAbsent`. */
export async function cloneFromVolume(
  { installation }: HostDependencies,
  {
    backend,
    stored: { id: volumeId, projectId, sizeBytes },
    image,
  }: { backend: VolumeBackend; stored: VolumeRow; image: Omit<StoredInVolume, 'snapshot'> },
): Promise<CloneOfStored> {
  const { workflowId, runId } = workflowExecution();
  // Another try finds the one that a killed try has left.
  const snapshotId = uuidV5(`${volumeId}/${image.name}`, SNAPSHOT_ID_NAMESPACE) as SnapshotId;
  const snapshot = { snapshotId, volumeId };
  const run = { workflowId, runId };
  const marker = {
    kind: 'snapshot',
    installation,
    ...snapshot,
    projectId,
    name: null,
    sizeBytes: sizeBytes ?? 0,
    run,
  } as const;
  try {
    await backend.ensureSnapshot(marker);
    const target = await backend.cloneStoredVolume?.({ ...image, snapshot });
    if (target === undefined) return { kind: 'elsewhere', reason: `backend ${backend.name} cannot clone volumes` };
    return { kind: 'cloned', target, verify: true };
  } finally {
    await backend.ensureSnapshotAbsent(snapshot);
  }
}
