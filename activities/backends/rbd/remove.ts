import { unlessAbsent } from '../../../lib/errno';
import { Failure } from '../../../workflows/contract/failures';
import type { VolumeId } from '../../../workflows/contract/ids';
import type { VolumeBackend } from '../backend';
import { parseVolumeMarker } from '../markers';
import { isCephError } from './ceph-error';
import type { RbdImage } from './cluster';
import type { RbdContext } from './context';
import { describeMade, isIncompleteClone } from './half-made';
import {
  cinderCloneSnapshotOf,
  INCOMPLETE_CLONE,
  MARKER_KEY,
  SEAL,
  snapshotIdOf,
  trashIdOf,
  type AttemptId,
  type ImageKind,
} from './names';
import { checkClaim } from './place';
import { parseImageMarker } from './markers';
import { removeAttempt } from './rename';

const NAMED_SNAPSHOTS = 10;

/** See `VolumeBackend.ensureVolumeAbsent`. One whose deleted snapshots still have clones waits in the trash for the last of them, as Cinder's do. */
export async function ensureVolumeAbsent(context: RbdContext, volumeId: VolumeId): Promise<void> {
  const { cluster, names, pool } = context;
  const image = names.volumeOf(volumeId);
  await checkClaim(context);
  const found = await describeOwn(context, image, `volume ${volumeId}`);
  refuseSnapshots(volumeId, found);
  await removeAttempts(context, { kind: 'volume', name: volumeId });
  try {
    await cluster.removeImage(image);
  } catch (error) {
    if (!isCephError(error, 'not-empty')) throw error;
    await unlessAbsent(cluster.moveToTrash(image));
  }
  const parent = found?.parent;
  // Of a volume that was Cinder's: the snapshot that it is a clone of was made for it alone.
  if (parent?.inTrash === false && parent.pool === pool.pool && parent.snapshot === cinderCloneSnapshotOf(image))
    await cluster.removeSnapshot(parent.image, parent.snapshot);
  if (parent?.inTrash === true && parent.pool === pool.pool) await removeUnneeded(context, parent.image);
}

/** @throws VolumeHasSnapshots: they lie in their volume's image. */
export function refuseSnapshots(volumeId: VolumeId, image: RbdImage | undefined): void {
  const snapshots = image?.snapshots.map(snapshotIdOf).filter((id) => id !== undefined) ?? [];
  if (snapshots.length > 0)
    throw new Failure('VolumeHasSnapshots', { volumeId, snapshots: snapshots.slice(0, NAMED_SNAPSHOTS).join(', ') });
}

/** Removes volumes of this name that wait in the trash, unless clones need them. */
export async function removeUnneeded({ cluster }: RbdContext, image: string): Promise<void> {
  for (const { id, name } of await cluster.listTrash()) if (name === image) await cluster.removeFromTrash(id);
}

/** See `VolumeBackend.ensureImageVolumeAbsent`. Leases keep a parent that is being cloned; clones in the pool keep it as well. */
export async function ensureImageVolumeAbsent(context: RbdContext, name: string): Promise<void> {
  const { cluster, names } = context;
  const image = names.imageOf(name);
  await checkClaim(context);
  const found = await describeOwn(context, image, `image-volume ${name}`);
  const clones = found?.snapshots.includes(SEAL) ? await cluster.countChildren(image, SEAL) : 0;
  if (clones > 0) throw stillNeeded(context, name, clones);
  try {
    await cluster.removeImage(image);
  } catch (error) {
    throw isCephError(error, 'not-empty') ? stillNeeded(context, name, 1) : error;
  }
  context.sealedBytes.delete(name);
  await removeAttempts(context, { kind: 'image-volume', name });
}

function stillNeeded({ name: backend }: RbdContext, parent: string, clones: number): Failure<'ParentUnusable'> {
  return new Failure('ParentUnusable', { backend, parent, found: `still needed by ${clones} clones` });
}

/** See `VolumeBackend.ensureAttemptAbsent`. A clone that somebody completes meanwhile stays. */
export async function ensureAttemptAbsent(
  context: RbdContext,
  { kind, ...ofKind }: Parameters<VolumeBackend['ensureAttemptAbsent']>[0],
): Promise<void> {
  // They are made in one step.
  if (kind === 'snapshot') return;
  const attempt: AttemptId = { kind, ...ofKind };
  const { cluster, names } = context;
  const image = names.attemptOf(attempt);
  await checkClaim(context);
  const trashId = trashIdOf(attempt.attempt);
  if (trashId !== undefined) return void (await cluster.removeFromTrash(trashId));
  const object = names.objectOf(attempt.kind, attempt.name);
  if (attempt.attempt !== INCOMPLETE_CLONE) return await removeAttempt(context, image, object);
  const found = await describeMade(context, object);
  if (found === undefined || isIncompleteClone(context, object, found)) await cluster.removeImage(object);
}

/** Removes all attempts at `name`, also in the trash, except image `except`. Those that a dead client holds stay there for the reconciler to find. */
export async function removeAttempts(
  context: RbdContext,
  { kind, name, except }: { kind: ImageKind; name: string; except?: string },
): Promise<void> {
  const { cluster, names } = context;
  const object = names.objectOf(kind, name);
  const isAttempt = (image: string): boolean => {
    const parsed = names.parse(image);
    return parsed?.kind === kind && parsed.name === name && parsed.attempt !== undefined;
  };
  for (const image of await cluster.listImages())
    if (isAttempt(image) && image !== except) await removeAttempt(context, image, object);
  for (const { id, name: image } of await cluster.listTrash()) if (isAttempt(image)) await cluster.removeFromTrash(id);
}

/** @returns the image, if it is there. @throws ForeignObject when its marker says that another installation made it. */
async function describeOwn(context: RbdContext, image: string, object: string): Promise<RbdImage | undefined> {
  const { name: backend, cluster, installation } = context;
  const found = await cluster.describeImage(image, [MARKER_KEY]);
  const text = found?.metadata[MARKER_KEY];
  const owner = (parseVolumeMarker(text ?? '') ?? parseImageMarker(text))?.marker.installation;
  if (owner !== undefined && owner !== installation) throw new Failure('ForeignObject', { backend, object });
  return found;
}
