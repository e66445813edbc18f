import { roundUpTo, SECTOR_BYTES } from '../../../workflows/contract/bytes';
import { Failure } from '../../../workflows/contract/failures';
import type { GuestReader } from '../../image/guest-reader';
import type { CloneOfStored, FlattenOptions, StoredImage, StoredInVolume, WriteTarget } from '../backend';
import { checkSize } from '../sizes';
import { CephError, isCephError } from './ceph-error';
import type { SnapshotSpec } from './cluster';
import { checkNotFull, withFailures, type RbdContext } from './context';
import { flattenImage } from './flatten';
import { qemuName } from './qemu-name';
import type { AttemptId } from './names';
import { checkClaim } from './place';
import { MAX_IMAGE_BYTES } from './volume';
import { describeSnapshot, specOf } from './volume-snapshot';

/** Glance's store in the same cluster, as the configuration names it. */
export interface ImageStore {
  /** Its `rbd_store_pool`. */
  pool: string;
  /** Whether what is cloned is read and compared with the hash of the image's record. */
  verify: boolean;
}

/** The snapshot that Glance makes of each image, and protects. Source: glance_store, `_drivers/rbd.py`, DEFAULT_SNAPNAME. */
export const GLANCE_SNAPSHOT = 'snap';

/** A name that no image has: whether it may be looked for tells whether images may be read. */
const NO_IMAGE = 'image-volume-cache.none';

/** @returns why images cannot be cloned from the store; undefined when they can. */
export async function findStoreFault(
  context: Pick<RbdContext, 'cluster' | 'pool'>,
  { pool }: ImageStore,
): Promise<string | undefined> {
  const { cluster } = context;
  if (cluster.openReader === undefined || cluster.describeSnapshot === undefined) return 'librbd was not found';
  try {
    await cluster.describeSnapshot({ pool, image: NO_IMAGE, snapshot: GLANCE_SNAPSHOT });
    return undefined;
  } catch (error) {
    return describeRefusal(context, error, { pool, verb: 'read' });
  }
}

/** @throws what is no answer about the store, such as that there was none in time. */
export function describeRefusal(
  { pool: { user } }: Pick<RbdContext, 'pool'>,
  error: unknown,
  { pool, verb }: { pool: string; verb: 'read' | 'write' },
): string {
  if (!(error instanceof CephError) || isCephError(error, 'in-doubt', 'disconnected', 'full')) throw error;
  if (isCephError(error, 'forbidden'))
    return `client.${user} may not ${verb} ${verb === 'write' ? 'in ' : ''}pool ${pool}`;
  if (!isCephError(error, 'absent')) return `Ceph refused it (${error.message})`;
  return error.call === 'rados_ioctx_create' ? `there is no pool ${pool}` : 'it was removed meanwhile';
}

/**
 * See `VolumeBackend.cloneStoredImage`. The one location that is accepted is that of the image itself: a user who may write locations into a record
 * could name any snapshot that this client can read, such as another project's volume.
 */
export async function cloneStoredImage(
  context: RbdContext,
  store: ImageStore,
  { imageId, sizeBytes, locations, ...attempt }: StoredImage,
): Promise<CloneOfStored> {
  const { cluster, names, pool } = context;
  const reason = findMismatch(locations, { fsid: context.identity.fsid, pool: store.pool, imageId });
  if (reason !== undefined) return { kind: 'elsewhere', reason };
  const virtualBytes = roundUpTo(sizeBytes, SECTOR_BYTES);
  checkSize(virtualBytes, { leastBytes: SECTOR_BYTES, mostBytes: MAX_IMAGE_BYTES });
  const snapshot = { pool: store.pool, image: imageId, snapshot: GLANCE_SNAPSHOT };
  const name = names.attemptOf({ kind: 'image-volume', ...attempt });
  return await withFailures(
    context,
    async () => {
      await checkClaim(context);
      await checkNotFull(context, virtualBytes);
      try {
        const found = await cluster.describeSnapshot?.(snapshot);
        if (found === undefined) return { kind: 'elsewhere', reason: `pool ${store.pool} has no snapshot of it` };
        if (found.sizeBytes !== sizeBytes)
          return { kind: 'elsewhere', reason: `its snapshot has ${found.sizeBytes} bytes, not ${sizeBytes}` };
        await cloneAnew(context, snapshot, { name, sizeBytes: virtualBytes });
      } catch (error) {
        const refusal = describeRefusal(context, error, { pool: store.pool, verb: 'read' });
        await cluster.removeImage(name);
        return { kind: 'elsewhere', reason: refusal };
      }
      const target = { attempt: attempt.attempt, qemuTarget: qemuName(pool, name), virtualBytes };
      return { kind: 'cloned', target, verify: store.verify };
    },
    virtualBytes,
  );
}

/** See `VolumeBackend.cloneStoredVolume`. */
export async function cloneStoredVolume(
  context: RbdContext,
  { sizeBytes, snapshot: ref, ...attempt }: StoredInVolume,
): Promise<WriteTarget> {
  const { cluster, names, pool } = context;
  const virtualBytes = roundUpTo(sizeBytes, SECTOR_BYTES);
  const name = names.attemptOf({ kind: 'image-volume', ...attempt });
  return await withFailures(
    context,
    async () => {
      await checkClaim(context);
      const found = await describeSnapshot(context, ref);
      if (found.kind === 'absent') throw new Failure('SnapshotNotFound', { snapshotId: ref.snapshotId });
      checkSize(virtualBytes, { leastBytes: SECTOR_BYTES, mostBytes: found.sizeBytes });
      await checkNotFull(context, virtualBytes);
      await cloneAnew(context, specOf(context, ref), { name, sizeBytes: virtualBytes });
      if (found.sizeBytes > virtualBytes) await cluster.shrinkImage(name, virtualBytes);
      return { attempt: attempt.attempt, qemuTarget: qemuName(pool, name), virtualBytes };
    },
    virtualBytes,
  );
}

/** @returns why none of `locations` is the image's own in the store; undefined when one is. They are compared whole, never taken apart. */
function findMismatch(
  locations: readonly string[],
  { fsid, pool, imageId }: { fsid: string; pool: string; imageId: string },
): string | undefined {
  if (locations.includes(locationOf({ fsid, pool, imageId }))) return undefined;
  if (locations.length === 0) return 'the image service does not show where it is';
  const inCeph = locations.filter((url) => url.startsWith('rbd://'));
  if (inCeph.length === 0) return 'the image service does not keep it in Ceph';
  if (!inCeph.some((url) => url.startsWith(`rbd://${fsid}/`))) return 'it is in another Ceph cluster';
  return `it is not an image of its own in pool ${pool}`;
}

/** Where Glance keeps an image of its own. */
export function locationOf({ fsid, pool, imageId }: { fsid: string; pool: string; imageId: string }): string {
  return `rbd://${fsid}/${pool}/${imageId}/${GLANCE_SNAPSHOT}`;
}

async function cloneAnew(
  { cluster }: RbdContext,
  snapshot: SnapshotSpec,
  { name, sizeBytes }: { name: string; sizeBytes: number },
): Promise<void> {
  const clone = { name, sizeBytes, metadata: {} };
  try {
    await cluster.cloneImage(snapshot, clone);
  } catch (error) {
    if (!isCephError(error, 'exists')) throw error;
    await cluster.removeImage(name);
    await cluster.cloneImage(snapshot, clone);
  }
}

/** See `VolumeBackend.openReader`. */
export async function openReader(context: RbdContext, attempt: AttemptId): Promise<GuestReader> {
  const { cluster, names } = context;
  return await withFailures(context, async () => {
    const name = names.attemptOf(attempt);
    const reader = await cluster.openReader?.(name);
    const { hash } = cluster;
    if (reader === undefined || hash === undefined) throw new Error('the rbd tool has no reader');
    return {
      read: async (offset, lengthBytes) => await withFailures(context, () => reader.read(offset, lengthBytes)),
      hash: async (options) => await withFailures(context, () => hash(name, options)),
      close: () => reader.close(),
    };
  });
}

/** See `VolumeBackend.ensureParentIndependent`. Its clones go on reading meanwhile: they are of its snapshot, which gets the bytes too. */
export async function ensureParentIndependent(
  context: RbdContext,
  name: string,
  options: FlattenOptions,
): Promise<'flattened' | 'independent' | 'absent'> {
  const { cluster, names } = context;
  const image = await cluster.describeImage(names.imageOf(name), []);
  if (image === undefined) return 'absent';
  if (image.parent === undefined) return 'independent';
  return await flattenImage(context, { name: names.imageOf(name), sizeBytes: image.sizeBytes }, options);
}
