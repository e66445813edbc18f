import { unlessAbsent } from '../../../lib/errno';
import { GiB } from '../../../workflows/contract/bytes';
import { Failure } from '../../../workflows/contract/failures';
import type { Connection } from '../../../workflows/contract/volume';
import type {
  CopyOptions,
  SnapshotDescription,
  SnapshotMarker,
  SnapshotReader,
  SnapshotRef,
  VolumeMarker,
} from '../backend';
import { joinNeighbours, type Extent } from '../extents';
import { checkSameSnapshot, parseSnapshotMarker, type StoredVolumeMarker } from '../markers';
import { checkSize } from '../sizes';
import { isCephError } from './ceph-error';
import type { SnapshotSpec } from './cluster';
import { checkNotFull, connectionOf, withFailures, type RbdContext } from './context';
import { flattenImage } from './flatten';
import { isIncompleteClone } from './half-made';
import { MARKER_KEY, snapshotKeyOf, snapshotNameOf } from './names';
import { checkClaim } from './place';
import { completeClone, MAX_IMAGE_BYTES } from './volume';

/** See `VolumeBackend.ensureSnapshot`: consistent as after a crash, also while a guest writes. Its marker is in the volume's metadata, and there first. */
export async function ensureSnapshot(
  context: RbdContext,
  marker: SnapshotMarker,
): Promise<SnapshotDescription & { kind: 'present' }> {
  const { cluster } = context;
  const { volumeId, snapshotId } = marker;
  const { image, snapshot } = specOf(context, marker);
  await checkClaim(context);
  const found = await describeSnapshot(context, marker);
  if (found.kind === 'absent') {
    const volume = await cluster.describeImage(image, [MARKER_KEY]);
    if (volume === undefined || isIncompleteClone(context, image, volume))
      throw new Failure('VolumeNotFound', { volumeId });
    await checkNotFull(context, 0);
    try {
      await cluster.snapshotVolume(image, snapshot, { [snapshotKeyOf(snapshotId)]: JSON.stringify({ marker }) });
    } catch (error) {
      if (!isCephError(error, 'exists')) throw error;
    }
  }
  const made = found.kind === 'absent' ? await describeSnapshot(context, marker) : found;
  if (made.kind === 'absent')
    throw new Failure('BackendUnavailable', {
      backend: context.name,
      cause: 'the snapshot was deleted while it was made',
    });
  checkSameSnapshot(context.name, made.marker, marker);
  return made;
}

/** In the pool of the volumes. */
export function specOf({ names }: RbdContext, { snapshotId, volumeId }: SnapshotRef): SnapshotSpec {
  return { image: names.volumeOf(volumeId), snapshot: snapshotNameOf(snapshotId) };
}

/** See `VolumeBackend.describeSnapshot`. */
export async function describeSnapshot(context: RbdContext, ref: SnapshotRef): Promise<SnapshotDescription> {
  const { cluster, name: backend, installation } = context;
  const { image, snapshot } = specOf(context, ref);
  const key = snapshotKeyOf(ref.snapshotId);
  const volume = await cluster.describeImage(image, [key]);
  const realBytes = volume?.snapshots.includes(snapshot)
    ? await unlessAbsent(cluster.usedBytes(image, snapshot))
    : undefined;
  if (volume === undefined || realBytes === undefined) {
    await checkClaim(context);
    return { kind: 'absent' };
  }
  const marker = parseSnapshotMarker(volume.metadata[key] ?? '');
  if (marker?.installation !== installation)
    throw new Failure('ForeignObject', { backend, object: `snapshot ${ref.snapshotId}` });
  return { kind: 'present', sizeBytes: marker.sizeBytes, realBytes, marker };
}

/** See `VolumeBackend.ensureSnapshotAbsent`. One that has clones loses its name, and goes with the last of them. */
export async function ensureSnapshotAbsent(context: RbdContext, ref: SnapshotRef): Promise<void> {
  const { image, snapshot } = specOf(context, ref);
  await checkClaim(context);
  await describeSnapshot(context, ref);
  await context.cluster.removeSnapshot(image, snapshot, snapshotKeyOf(ref.snapshotId));
}

/** See `VolumeBackend.cloneSnapshot`. A clone that would read from too many images, one behind the other, is flattened. */
export async function cloneSnapshot(
  context: RbdContext,
  { snapshot: ref, marker }: { snapshot: SnapshotRef; marker: VolumeMarker },
  options: CopyOptions = {},
): Promise<Connection> {
  const { cluster, names } = context;
  const name = names.volumeOf(marker.volumeId);
  const parent = specOf(context, ref);
  const wanted: StoredVolumeMarker = { marker, parent: null, snapshot: ref.snapshotId };
  const clone = {
    name,
    sizeBytes: marker.sizeBytes,
    metadata: { [MARKER_KEY]: JSON.stringify(wanted) },
  };
  const checkParent = async (): Promise<void> => {
    const found = await describeSnapshot(context, ref);
    if (found.kind === 'absent') throw new Failure('SnapshotNotFound', { snapshotId: ref.snapshotId });
    checkSize(marker.sizeBytes, { leastBytes: found.sizeBytes, mostBytes: MAX_IMAGE_BYTES });
  };
  return await withFailures(
    context,
    async () => {
      const existing = await cluster.describeImage(name, [MARKER_KEY]);
      if (existing === undefined) await checkParent();
      try {
        await cluster.cloneImage(parent, clone);
      } catch (error) {
        if (!isCephError(error, 'absent', 'exists')) throw error;
        await completeClone(context, { wanted, clone, parent, checkParent });
      }
      const isClone = existing === undefined || existing.parent !== undefined;
      if (isClone && (await cluster.countAncestors(name)) > context.maxCloneDepth)
        await flattenImage(context, { name, sizeBytes: marker.sizeBytes }, options);
      return connectionOf(context, name);
    },
    marker.sizeBytes,
  );
}

/** Of a snapshot, asked for at once: some 16,000 objects. */
const WINDOW_BYTES = 64 * GiB;

/** Parts of a snapshot that may hold data, in order, whatever its size. */
export function extentsOfSnapshot(
  context: RbdContext,
  { image, snapshot, sizeBytes }: Pick<SnapshotSpec, 'image' | 'snapshot'> & { sizeBytes: number },
): AsyncGenerator<Extent> {
  const { listExtents } = context.cluster;
  const windows = async function* (): AsyncGenerator<Extent> {
    for (let offset = 0; offset < sizeBytes; offset += WINDOW_BYTES) {
      const range = { offset, lengthBytes: WINDOW_BYTES };
      if (listExtents === undefined) yield { offset, lengthBytes: Math.min(WINDOW_BYTES, sizeBytes - offset) };
      else yield* await withFailures(context, () => listExtents(image, snapshot, range));
    }
  };
  return joinNeighbours(windows());
}

/** See `VolumeBackend.openSnapshotReader`. */
export async function openSnapshotReader(context: RbdContext, ref: SnapshotRef): Promise<SnapshotReader> {
  const { image, snapshot } = specOf(context, ref);
  const { openReader } = context.cluster;
  if (openReader === undefined) throw new Error('the rbd tool has no reader');
  if ((await describeSnapshot(context, ref)).kind === 'absent')
    throw new Failure('SnapshotNotFound', { snapshotId: ref.snapshotId });
  const reader = await openReader(image, snapshot);
  const { sizeBytes } = reader;

  return {
    sizeBytes,
    extents: () => extentsOfSnapshot(context, { image, snapshot, sizeBytes }),
    read: async (offset, lengthBytes) => await withFailures(context, () => reader.read(offset, lengthBytes)),
    close: () => reader.close(),
  };
}
