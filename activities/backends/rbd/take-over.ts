import { Failure } from '../../../workflows/contract/failures';
import type { SnapshotId, VolumeId } from '../../../workflows/contract/ids';
import type { Connection } from '../../../workflows/contract/volume';
import type { ForeignVolume, SnapshotMarker, VolumeMarker } from '../backend';
import { isSameMarker, parseSnapshotMarker, type StoredVolumeMarker } from '../markers';
import { connectionOf, type RbdContext } from './context';
import { storedOf } from './half-made';
import { MARKER_KEY, snapshotIdOf, snapshotKeyOf } from './names';
import { checkClaim } from './place';
import { unlessAbsent } from '../../../lib/errno';

/** See `VolumeBackend.describeForeign`. */
export async function describeForeign(context: RbdContext, volumeId: VolumeId): Promise<ForeignVolume> {
  const { cluster, names, pool } = context;
  const name = names.volumeOf(volumeId);
  const image = await cluster.describeImage(name, [MARKER_KEY]);
  if (image === undefined) {
    await checkClaim(context);
    return { kind: 'absent', name: `${pool.pool}/${name}` };
  }
  const marker = storedOf(image)?.marker;
  return {
    kind: 'present',
    name: `${pool.pool}/${name}`,
    sizeBytes: image.sizeBytes,
    modifiedAt: image.modifiedAt,
    // That of another volume came with a clone, and says nothing.
    ...(marker?.volumeId === volumeId && { marker }),
    snapshots: image.snapshots.flatMap((snapshot) => snapshotIdOf(snapshot) ?? []),
  };
}

/**
 * See `VolumeBackend.ensureTakenOver`. Markers in the image's metadata, those of its snapshots first, and nothing else: no byte of it is touched, nor its name,
 * and whoever has it open goes on.
 */
export async function ensureTakenOver(
  context: RbdContext,
  { marker, snapshots }: { marker: VolumeMarker; snapshots: readonly SnapshotMarker[] },
): Promise<{ connection: Connection; modifiedAt: Date }> {
  const { cluster, names, installation, name: backend } = context;
  const { volumeId, sizeBytes } = marker;
  const name = names.volumeOf(volumeId);
  await checkClaim(context);
  const keys = [MARKER_KEY, ...snapshots.map(({ snapshotId }) => snapshotKeyOf(snapshotId))];
  const image = await cluster.describeImage(name, keys);
  if (image === undefined) throw new Failure('VolumeNotFound', { volumeId });
  if (image.sizeBytes !== sizeBytes)
    throw new Failure('Conflict', { volumeId, found: `it has ${image.sizeBytes} bytes, not ${sizeBytes}` });
  const found = storedOf(image)?.marker;
  if (found?.volumeId === volumeId && found.installation !== installation)
    throw new Failure('ForeignObject', { backend, object: `volume ${volumeId}` });
  if (found?.volumeId === volumeId && !isSameMarker(found, marker))
    throw new Failure('Conflict', { volumeId, found: 'a volume with another size, name or project is there' });
  const stored: StoredVolumeMarker = { marker, parent: null };
  const marked = snapshots.map((snapshot) => [
    snapshotKeyOf(snapshot.snapshotId),
    JSON.stringify({ marker: snapshot }),
  ]);
  const metadata = Object.fromEntries([...marked, [MARKER_KEY, JSON.stringify(stored)]]) as Record<string, string>;
  await cluster.completeImage(name, { sizeBytes, metadata });
  return { connection: connectionOf(context, name), modifiedAt: image.modifiedAt };
}

/** See `VolumeBackend.ensureGivenBack`. */
export async function ensureGivenBack(
  context: RbdContext,
  { volumeId, snapshotIds }: { volumeId: VolumeId; snapshotIds: readonly SnapshotId[] },
): Promise<void> {
  const { cluster, names, installation, name: backend } = context;
  const name = names.volumeOf(volumeId);
  await checkClaim(context);
  const snapshotKeys = snapshotIds.map(snapshotKeyOf);
  const image = await cluster.describeImage(name, [MARKER_KEY, ...snapshotKeys]);
  if (image === undefined) return;
  const owners = [
    storedOf(image)?.marker,
    ...snapshotKeys.map((key) => parseSnapshotMarker(image.metadata[key] ?? '')),
  ];
  if (owners.some((owner) => owner !== undefined && owner.installation !== installation))
    throw new Failure('ForeignObject', { backend, object: `volume ${volumeId}` });
  await unlessAbsent(cluster.removeMetadata(name, [MARKER_KEY, ...snapshotKeys]));
}
