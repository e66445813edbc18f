import { v5 as uuidV5 } from 'uuid';
import type { ImageId, SnapshotId, VolumeId } from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';

/** Property of an image that was made of a volume: its id. It tells an image of ours from one that was there. */
export const VOLUME_PROPERTY = 'ivc_volume_id';

/** The workflow that gives it its bytes: one that is queued when that has ended gets none any more. */
export const RUN_PROPERTY = 'ivc_made_in';

/** Tells an image of ours from others as its volume's id does, for Glance's policy, which compares with a word; see `docs/glance/policy.yaml`. */
export const MAKER = { ivc_made_by: 'image-volume-cache' };

/** Of an image by which a snapshot of a user is shared: the snapshot's id. */
export const SNAPSHOT_PROPERTY = 'ivc_snapshot_id';

/** Namespace of the ids of snapshots that are taken for an image (RFC 9562, version 5). */
const SNAPSHOT_ID_NAMESPACE = '3d3c1f64-6d9e-4a52-8c0b-6a1c9a8f2b17';

/** An image is uploaded once, from one snapshot. @returns its id. */
export function uploadSnapshotId(imageId: ImageId): SnapshotId {
  return uuidV5(imageId, SNAPSHOT_ID_NAMESPACE) as SnapshotId;
}

/** Whether the image was made of this snapshot of this volume. */
export function isUploadOf(
  { id, properties }: Image,
  { volumeId, snapshotId }: { volumeId: VolumeId; snapshotId: SnapshotId },
): boolean {
  const madeOf = properties[SNAPSHOT_PROPERTY] ?? uploadSnapshotId(id);
  return properties[VOLUME_PROPERTY] === volumeId && madeOf === snapshotId;
}
