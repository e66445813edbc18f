import { z } from 'zod';
import { Failure } from '../../../workflows/contract/failures';
import type { ImageId, InstallationId, ProjectId, SnapshotId, VolumeId } from '../../../workflows/contract/ids';
import type { ImagePointer, MadePointer, PointerDescription, PointerOptions } from '../backend';
import { parseStored } from '../markers';
import { isCephError } from './ceph-error';
import type { RbdCluster, RbdImage, SnapshotSpec } from './cluster';
import { checkNotFull, withFailures, type RbdContext } from './context';
import { flattenImage } from './flatten';
import { describeRefusal, GLANCE_SNAPSHOT, locationOf } from './image-store';
import { MARKER_KEY } from './names';
import { checkClaim } from './place';
import { describeSnapshot, specOf } from './volume-snapshot';

/** Glance's pool, opened to write there. */
export interface PointerStore {
  /** Its `rbd_store_pool`. */
  pool: string;
  cluster: RbdCluster;
}

/** From where to where. */
interface Place {
  context: RbdContext;
  store: PointerStore;
}

const text = <Brand extends string>() => z.custom<Brand>((value) => typeof value === 'string');
const markerSchema = z.object({
  marker: z.object({
    kind: z.literal('pointer'),
    installation: text<InstallationId>(),
    imageId: text<ImageId>(),
    snapshotId: text<SnapshotId>(),
    volumeId: text<VolumeId>(),
    projectId: text<ProjectId>(),
  }),
});
type PointerMarker = z.output<typeof markerSchema>['marker'];

/**
 * See `VolumeBackend.ensureImagePointer`. It has the name, and its snapshot too, that Glance would have given it, so that Glance reads and deletes it as
 * one of its own.
 */
export async function ensureImagePointer(
  { context, store }: Place,
  { imageId, ...source }: ImagePointer,
  options: PointerOptions = {},
): Promise<MadePointer> {
  const { installation, pool, identity } = context;
  const marker: PointerMarker = { kind: 'pointer', installation, imageId, ...source };
  const snapshot = { pool: pool.pool, namespace: pool.namespace, ...specOf(context, source) };
  await checkClaim(context);
  const found = await describeSnapshot(context, source);
  if (found.kind === 'absent') throw new Failure('SnapshotNotFound', { snapshotId: source.snapshotId });
  await checkNotFull(context, options.independent === true ? found.sizeBytes : 0);
  try {
    const image = await ensureClone({ context, store }, { marker, snapshot, sizeBytes: found.sizeBytes });
    if (typeof image === 'string') return { kind: 'impossible', reason: image };
    const mustFlatten =
      image.parent !== undefined &&
      (options.independent === true || (await store.cluster.countAncestors(imageId)) > context.maxCloneDepth);
    if (mustFlatten)
      await flattenImage(
        { ...context, cluster: store.cluster },
        { name: imageId, sizeBytes: image.sizeBytes },
        options,
      );
    if (!image.snapshots.includes(GLANCE_SNAPSHOT)) await store.cluster.createSnapshot(imageId, GLANCE_SNAPSHOT);
    await store.cluster.protectSnapshot?.(imageId, GLANCE_SNAPSHOT);
    const location = locationOf({ fsid: identity.fsid, pool: store.pool, imageId });
    return { kind: 'made', location, independent: image.parent === undefined || mustFlatten };
  } catch (error) {
    if (!isCephError(error, 'forbidden', 'absent')) throw error;
    return { kind: 'impossible', reason: describeRefusal(context, error, { pool: store.pool, verb: 'write' }) };
  }
}

/** @returns why it cannot be made, where something else has its name. */
async function ensureClone(
  { context, store: { cluster, pool } }: Place,
  { marker, snapshot, sizeBytes }: { marker: PointerMarker; snapshot: SnapshotSpec; sizeBytes: number },
): Promise<RbdImage | string> {
  const { imageId: name } = marker;
  const describe = async (): Promise<RbdImage | undefined> => await cluster.describeImage(name, [MARKER_KEY]);
  const existing = await describe();
  if (existing !== undefined && isPointer(context, existing, name)) return existing;
  if (existing !== undefined && !isCloneOf(existing, snapshot)) return `pool ${pool} has another image of that name`;
  // Leftovers of a killed call, or an image that lists and does not open.
  await removeHalfMade(cluster, name);
  await cluster.cloneImage(snapshot, { name, sizeBytes, metadata: { [MARKER_KEY]: JSON.stringify({ marker }) } });
  const made = await describe();
  if (made !== undefined) return made;
  throw new Failure('BackendUnavailable', {
    backend: context.name,
    cause: 'the pointer was deleted while it was made',
  });
}

/** Nobody but us has known it. */
async function removeHalfMade(cluster: RbdCluster, name: string): Promise<void> {
  if ((await cluster.listImages()).includes(name)) await cluster.removeImage(name);
}

function isPointer({ installation }: RbdContext, image: RbdImage, imageId: string): boolean {
  const marker = parseStored(markerSchema, image.metadata[MARKER_KEY] ?? '')?.marker;
  return marker?.installation === installation && marker.imageId === imageId;
}

function isCloneOf({ parent }: RbdImage, { pool, namespace = '', image }: SnapshotSpec): boolean {
  return parent?.pool === pool && parent?.namespace === namespace && parent?.image === image;
}

/** See `VolumeBackend.describeImagePointer`. */
export async function describeImagePointer(
  { context, store: { cluster } }: Place,
  imageId: ImageId,
): Promise<PointerDescription> {
  const image = await cluster.describeImage(imageId, [MARKER_KEY]);
  if (image === undefined || !isPointer(context, image, imageId)) return { kind: 'absent' };
  const { parent } = image;
  const source = parent === undefined ? 'none' : parent.inTrash ? 'deleted' : 'present';
  const isWhole = image.snapshots.includes(GLANCE_SNAPSHOT);
  return { kind: 'present', source, isWhole, usedBytes: await cluster.usedBytes(imageId) };
}

/** See `VolumeBackend.ensureImagePointerAbsent`. */
export async function ensureImagePointerAbsent(
  { context, store: { cluster } }: Place,
  { imageId, ...source }: Omit<ImagePointer, 'projectId'>,
): Promise<'absent' | 'needed'> {
  const image = await cluster.describeImage(imageId, [MARKER_KEY]);
  const { pool, namespace } = context.pool;
  const isOurs =
    image === undefined ||
    isPointer(context, image, imageId) ||
    isCloneOf(image, { pool, namespace, ...specOf(context, source) });
  if (!isOurs) return 'absent';
  if (image === undefined) {
    await removeHalfMade(cluster, imageId);
    return 'absent';
  }
  try {
    const { snapshots } = image;
    if (snapshots.includes(GLANCE_SNAPSHOT)) {
      if ((await cluster.countChildren(imageId, GLANCE_SNAPSHOT)) > 0) return 'needed';
      await cluster.unprotectSnapshot?.(imageId, GLANCE_SNAPSHOT);
    }
    await cluster.removeImage(imageId);
    return 'absent';
  } catch (error) {
    if (isCephError(error, 'not-empty', 'busy')) return 'needed';
    throw error;
  }
}

/** See `VolumeBackend.ensureImagePointerIndependent`. */
export async function ensureImagePointerIndependent(
  { context, store }: Place,
  imageId: ImageId,
  options: PointerOptions = {},
): Promise<'flattened' | 'independent' | 'absent'> {
  return await withFailures(context, async () => {
    const image = await store.cluster.describeImage(imageId, [MARKER_KEY]);
    if (image === undefined || !isPointer(context, image, imageId)) return 'absent';
    if (image.parent === undefined) return 'independent';
    return await flattenImage(
      { ...context, cluster: store.cluster },
      { name: imageId, sizeBytes: image.sizeBytes },
      options,
    );
  });
}
