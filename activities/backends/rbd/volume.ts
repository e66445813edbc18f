import { Failure } from '../../../workflows/contract/failures';
import type { VolumeId } from '../../../workflows/contract/ids';
import type { Connection } from '../../../workflows/contract/volume';
import type { VolumeDescription, VolumeMarker, WriteTarget } from '../backend';
import { checkSameVolume, type StoredVolumeMarker } from '../markers';
import { checkSize } from '../sizes';
import { isCephError } from './ceph-error';
import type { RbdImage, SnapshotSpec } from './cluster';
import { connectionOf, withFailures, type RbdContext } from './context';
import { describeMade, isEmpty, isIncompleteClone, isUnmade, storedOf } from './half-made';
import { untilDone } from './until-done';
import { MARKER_KEY, SEAL } from './names';
import { getSealedParent } from './parent';
import { checkClaim } from './place';
import { removeAttempts } from './remove';
import { renameUnlessTaken } from './rename';

/** The most that an object map can name, in objects of 4 MiB. Source: librbd, MAX_OBJECT_MAP_OBJECT_COUNT. */
export const MAX_IMAGE_BYTES = 256_000_000 * 4 * 1024 ** 2;

/** See `VolumeBackend.describeVolume`. An image with neither a marker nor bytes is none yet. */
export async function describeVolume(context: RbdContext, volumeId: VolumeId): Promise<VolumeDescription> {
  const { cluster, names, pool } = context;
  const name = names.volumeOf(volumeId);
  const image = await cluster.describeImage(name, [MARKER_KEY]);
  if (image === undefined) {
    await checkClaim(context);
    return { kind: 'absent' };
  }
  if (isIncompleteClone(context, name, image)) return { kind: 'absent' };
  if (isUnmade(image) && (await isEmpty(context, name))) return { kind: 'absent' };
  const parsedParent = image.parent?.pool === pool.pool ? names.parse(image.parent.image) : undefined;
  return {
    kind: 'present',
    sizeBytes: image.sizeBytes,
    realBytes: await cluster.usedBytes(name),
    modifiedAt: image.modifiedAt,
    connection: connectionOf(context, name),
    marker: storedOf(image)?.marker,
    ...(parsedParent?.kind === 'image-volume' && { parent: parsedParent.name }),
  };
}

/**
 * See `VolumeBackend.ensureClone`. One visit: cloned from the seal, grown, marked. No snapshot is made or deleted, so that no change of the monitors' map
 * is waited for. Two calls at once make one clone: the second finds the first's, and completes what a killed one has left.
 */
export async function ensureClone(context: RbdContext, parent: string, marker: VolumeMarker): Promise<Connection> {
  const name = context.names.volumeOf(marker.volumeId);
  await cloneTo(context, { name, parent, marker });
  return connectionOf(context, name);
}

/** As `ensureClone`, under any name. */
export async function cloneTo(
  context: RbdContext,
  { name, parent, marker }: { name: string; parent: string; marker: VolumeMarker },
): Promise<void> {
  const { cluster, names } = context;
  const wanted: StoredVolumeMarker = { marker, parent };
  await withFailures(
    context,
    async () => {
      const leastBytes = await sealedBytesOf(context, parent).catch(async (error: unknown) => {
        // One that was flattened since does not need its parent, which may be gone.
        const existing = await cluster.describeImage(name, [MARKER_KEY]);
        if (existing === undefined || existing.parent !== undefined) throw error;
        return 0;
      });
      checkSize(marker.sizeBytes, { leastBytes, mostBytes: MAX_IMAGE_BYTES });
      const clone = { name, sizeBytes: marker.sizeBytes, metadata: { [MARKER_KEY]: JSON.stringify(wanted) } };
      try {
        await cluster.cloneImage({ image: names.imageOf(parent), snapshot: SEAL }, clone);
      } catch (error) {
        if (isCephError(error, 'absent')) context.sealedBytes.delete(parent);
        if (!isCephError(error, 'absent', 'exists')) throw error;
        const checkParent = async (): Promise<unknown> => await getSealedParent(context, parent);
        await completeClone(context, {
          wanted,
          clone,
          parent: { image: names.imageOf(parent), snapshot: SEAL },
          checkParent,
        });
      }
    },
    marker.sizeBytes,
  );
}

async function sealedBytesOf(context: RbdContext, parent: string): Promise<number> {
  const known = context.sealedBytes.get(parent);
  if (known !== undefined) return known;
  const { virtualBytes } = await getSealedParent(context, parent);
  context.sealedBytes.set(parent, virtualBytes);
  return virtualBytes;
}

/** After a clone that found its name taken, or its parent gone: completes what a killed call has left, or says what is there. */
export async function completeClone(
  context: RbdContext,
  {
    wanted,
    clone,
    parent,
    checkParent,
  }: {
    wanted: StoredVolumeMarker;
    clone: { name: string; sizeBytes: number; metadata: Record<string, string> };
    parent: SnapshotSpec;
    /** Throws where it is not there. */
    checkParent: () => Promise<unknown>;
  },
): Promise<void> {
  const { cluster } = context;
  const image = await describeMade(context, clone.name);
  if (image === undefined) {
    await checkParent();
    await cluster.removeImage(clone.name);
    return await cluster.cloneImage(parent, clone);
  }
  const isOfParent = image.parent?.image === parent.image && image.parent.snapshot === parent.snapshot;
  if (isOfParent && isIncompleteClone(context, clone.name, image))
    return await cluster.completeImage(clone.name, clone);
  confirm(context, image, wanted);
}

/** @throws ForeignObject when this installation did not make it; Conflict when it is another volume of the same id. */
function confirm(context: RbdContext, image: RbdImage, wanted: StoredVolumeMarker): void {
  const { volumeId } = wanted.marker;
  const stored = storedOf(image);
  if (stored?.marker.installation !== context.installation)
    throw new Failure('ForeignObject', { backend: context.name, object: `volume ${volumeId}` });
  checkSameVolume(stored, wanted);
}

/** See `VolumeBackend.publishVolume`. */
export async function publishVolume(
  context: RbdContext,
  target: WriteTarget,
  marker: VolumeMarker,
): Promise<Connection> {
  const { cluster, names } = context;
  const name = names.volumeOf(marker.volumeId);
  const attempt = names.attemptOf({ kind: 'volume', name: marker.volumeId, attempt: target.attempt });
  const wanted: StoredVolumeMarker = { marker, parent: null };
  checkSize(marker.sizeBytes, { leastBytes: target.virtualBytes, mostBytes: MAX_IMAGE_BYTES });
  const publish = async (): Promise<true> => {
    if ((await cluster.describeImage(name, [])) === undefined) {
      await cluster.completeImage(attempt, {
        sizeBytes: marker.sizeBytes,
        metadata: { [MARKER_KEY]: JSON.stringify(wanted) },
      });
      await renameUnlessTaken(context, attempt, name);
    }
    const image = await cluster.describeImage(name, [MARKER_KEY]);
    if (image === undefined)
      throw new Failure('BackendUnavailable', {
        backend: context.name,
        cause: 'the volume was deleted while it was made',
      });
    confirm(context, image, wanted);
    await removeAttempts(context, { kind: 'volume', name: marker.volumeId });
    return true;
  };
  return await withFailures(
    context,
    async () => {
      await checkClaim(context);
      await untilDone(publish);
      return connectionOf(context, name);
    },
    marker.sizeBytes,
  );
}

/** Every client that has an image open for writing watches its header. */
export async function findOpener(context: RbdContext, volumeId: VolumeId): Promise<string | undefined> {
  const { cluster, names } = context;
  return await withFailures(context, async () => {
    try {
      const other = (await cluster.listWatchers(names.volumeOf(volumeId))).find(({ own }) => !own);
      return other && `a client at ${other.address}`;
    } catch (error) {
      if (isCephError(error, 'absent')) return undefined;
      throw error;
    }
  });
}
