import { unlessAbsent } from '../../../lib/errno';
import { Failure } from '../../../workflows/contract/failures';
import type { ContentId, VolumeId } from '../../../workflows/contract/ids';
import type { Connection } from '../../../workflows/contract/volume';
import type { VolumeReplacement } from '../backend';
import { checkSameContent } from '../markers';
import { checkSize } from '../sizes';
import { isCephError } from './ceph-error';
import type { RbdImage } from './cluster';
import { connectionOf, withFailures, type RbdContext } from './context';
import { isIncompleteClone, storedOf } from './half-made';
import { MARKER_KEY } from './names';
import { checkClaim } from './place';
import { refuseSnapshots, removeAttempts, removeUnneeded } from './remove';
import { removeAttempt, renameUnlessTaken } from './rename';
import { cloneTo, findOpener, MAX_IMAGE_BYTES } from './volume';

/** The names of a replacement: of the volume's image, of the clone that takes its place, and of the old image that gives it up. */
interface Names {
  volume: string;
  clone: string;
  old: string;
}

function namesOf({ names }: RbdContext, volumeId: VolumeId, content: ContentId): Names {
  const attempt = (name: string): string => names.attemptOf({ kind: 'volume', name: volumeId, attempt: name });
  return { volume: names.volumeOf(volumeId), clone: attempt(content), old: attempt(`${content}-old`) };
}

/**
 * See `VolumeBackend.ensureReplaced`. The clone is made whole under a name of its own; then the old image gives its name up, and the clone gets it.
 * Killed between the two, there is no volume until the next call, which finds the clone.
 */
export async function ensureReplaced(context: RbdContext, replacement: VolumeReplacement): Promise<Connection> {
  const { pool } = context;
  const { marker } = replacement;
  const { volumeId, content } = marker;
  const names = namesOf(context, volumeId, content);
  return await withFailures(
    context,
    async () => {
      await checkClaim(context);
      const image = await findImage(context, names);
      if (image === undefined || isIncompleteClone(context, names.volume, image))
        throw new Failure('VolumeNotFound', { volumeId });
      if (!checkSameContent(context, storedOf(image), replacement)) {
        const by = await findOpener(context, volumeId);
        if (by !== undefined) throw new Failure('VolumeInUse', { volumeId, by });
        refuseSnapshots(volumeId, image);
        await makeWhole(context, names, replacement);
        await putAside(context, { names, volumeId, content });
        await renameUnlessTaken(context, names.clone, names.volume);
      }
      await removeOld(context, names);
      await removeAttempts(context, 'volume', volumeId);
      const itsParent = image.parent;
      if (itsParent?.inTrash === true && itsParent.pool === pool.pool) await removeUnneeded(context, itsParent.image);
      return connectionOf(context, names.volume);
    },
    marker.sizeBytes,
  );
}

/** The new bytes, grown and marked, under a name of their own. */
async function makeWhole(
  context: RbdContext,
  names: Names,
  { parent, target, marker }: VolumeReplacement,
): Promise<void> {
  if (target === undefined) return await cloneTo(context, { name: names.clone, parent, marker });
  checkSize(marker.sizeBytes, { leastBytes: target.virtualBytes, mostBytes: MAX_IMAGE_BYTES });
  const written = context.names.attemptOf({ kind: 'volume', name: marker.volumeId, attempt: target.attempt });
  const metadata = { [MARKER_KEY]: JSON.stringify({ marker, parent: null }) };
  await context.cluster.completeImage(written, { sizeBytes: marker.sizeBytes, metadata });
  await renameUnlessTaken(context, written, names.clone);
}

/** The volume's image; where a killed call has left none, the clone is finished, or the old one gets its name back. */
async function findImage(context: RbdContext, { volume, clone, old }: Names): Promise<RbdImage | undefined> {
  const { cluster } = context;
  const image = await cluster.describeImage(volume, [MARKER_KEY]);
  if (image !== undefined) return image;
  if (await isWhole(context, clone)) await renameUnlessTaken(context, clone, volume);
  else if ((await cluster.describeImage(old, [])) !== undefined) await renameUnlessTaken(context, old, volume);
  return await cluster.describeImage(volume, [MARKER_KEY]);
}

/**
 * Takes the volume's name from the old image. What has lost its name is looked at again: where another call was faster, or somebody has taken a snapshot
 * meanwhile, it gets it back.
 */
async function putAside(
  context: RbdContext,
  { names: { volume, old }, volumeId, content }: { names: Names; volumeId: VolumeId; content: ContentId },
): Promise<void> {
  const { cluster } = context;
  // A rename that was killed in its middle: the image has its own name again.
  await removeAttempt(context, old, volume);
  try {
    await cluster.renameImage(volume, old);
  } catch (error) {
    if (isCephError(error, 'absent')) return;
    throw error;
  }
  const moved = await cluster.describeImage(old, [MARKER_KEY]);
  if (moved === undefined) return;
  if (storedOf(moved)?.marker.content === content) return await cluster.renameImage(old, volume);
  try {
    refuseSnapshots(volumeId, moved);
  } catch (error) {
    await cluster.renameImage(old, volume);
    throw error;
  }
}

/** One whose deleted snapshots still have clones waits in the trash for the last of them. */
async function removeOld(context: RbdContext, { volume, old }: Names): Promise<void> {
  try {
    await removeAttempt(context, old, volume);
  } catch (error) {
    if (!isCephError(error, 'not-empty')) throw error;
    await unlessAbsent(context.cluster.moveToTrash(old));
  }
}

/** See `VolumeBackend.settleReplaced`. */
export async function settleReplaced(
  context: RbdContext,
  volumeId: VolumeId,
  content: ContentId,
): Promise<Connection | undefined> {
  const names = namesOf(context, volumeId, content);
  return await withFailures(context, async () => {
    await checkClaim(context);
    const image = await findImage(context, names);
    await removeAttempt(context, names.clone, names.volume);
    if (image === undefined) return undefined;
    await removeOld(context, names);
    return storedOf(image)?.marker.content === content ? connectionOf(context, names.volume) : undefined;
  });
}

async function isWhole(context: RbdContext, clone: string): Promise<boolean> {
  const image = await context.cluster.describeImage(clone, [MARKER_KEY]);
  return image !== undefined && !isIncompleteClone(context, clone, image) && storedOf(image) !== undefined;
}
