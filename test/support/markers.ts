import { randomUUID } from 'node:crypto';
import type { ImageVolumeMarker, SnapshotMarker, VolumeMarker } from '../../activities/backends/backend';
import { MiB } from '../../workflows/contract/bytes';
import type { InstallationId, ProjectId, SnapshotId, VolumeId } from '../../workflows/contract/ids';
import { brand } from './brand';

/** Size of the sample image: odd on purpose, no multiple of a cluster, a block or a MiB. */
export const IMAGE_BYTES = 5 * MiB + 512;

const cacheKey = {
  containerFormat: 'bare',
  diskFormat: 'qcow2',
  hashAlgorithm: 'sha512',
  hashValue: 'ab'.repeat(64),
  short: '0123456789abcdef0123456789abcdef',
};

export function imageMarker({ installation }: { installation: InstallationId }, name: string): ImageVolumeMarker {
  return { kind: 'image-volume', installation, name, cacheKey, generation: 1, virtualBytes: IMAGE_BYTES };
}

/** The marker of a new volume with the sample image's size. */
export function volumeMarker(
  { installation }: { installation: InstallationId },
  more: Partial<VolumeMarker> = {},
): VolumeMarker {
  const volumeId = brand<VolumeId>(randomUUID());
  const projectId = brand<ProjectId>('p1');
  return { kind: 'volume', installation, volumeId, projectId, name: 'disk', sizeBytes: IMAGE_BYTES, cacheKey, ...more };
}

/** The marker of a new snapshot of a volume. */
export function snapshotMarker(
  { installation }: { installation: InstallationId },
  { volumeId, projectId, sizeBytes }: VolumeMarker,
): SnapshotMarker {
  const snapshotId = brand<SnapshotId>(randomUUID());
  return { kind: 'snapshot', installation, snapshotId, volumeId, projectId, name: 'before', sizeBytes };
}
