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
import { untilDone, MOST_TRIES } from './until-done';
import { MARKER_KEY } from './names';
import { checkClaim } from './place';
import { refuseSnapshots, removeAttempts, removeUnneeded } from './remove';
import { finishRename, removeAttempt, renameUnlessTaken } from './rename';
import { cloneTo, findOpener, MAX_IMAGE_BYTES } from './volume';

/** Of a replacement by `content`: of the volume's image, of the clone that takes its place, and of the old image that gives it up. */
interface Names {
  content: ContentId;
  volume: string;
  clone: string;
  old: string;
}

function namesOf({ names }: RbdContext, volumeId: VolumeId, content: ContentId): Names {
  const attempt = (name: string): string => names.attemptOf({ kind: 'volume', name: volumeId, attempt: name });
  return { content, volume: names.volumeOf(volumeId), clone: attempt(content), old: attempt(`${content}-old`) };
}

/**
 * See `VolumeBackend.ensureReplaced`. The clone is made whole under a name of its own; then the old image gives its name up, and the clone gets it.
 * Killed between the two, there is no volume until the next call, which finds the clone. An image with new bytes is never removed, under whatever name.
 */
export async function ensureReplaced(context: RbdContext, replacement: VolumeReplacement): Promise<Connection> {
  const { volumeId, content, sizeBytes } = replacement.marker;
  const names = namesOf(context, volumeId, content);
  return await withFailures(
    context,
    async () => {
      await checkClaim(context);
      if (await untilDone(() => isReplaced(context, names, replacement))) return connectionOf(context, names.volume);
      const cause = `volume ${volumeId} has not got its new bytes in ${MOST_TRIES} tries`;
      throw new Failure('BackendUnavailable', { backend: context.name, cause });
    },
    sizeBytes,
  );
}

/** @returns whether the volume has its new bytes, and nothing else is left of it; false when it should have them now. */
async function isReplaced(context: RbdContext, names: Names, replacement: VolumeReplacement): Promise<boolean> {
  const { volumeId } = replacement.marker;
  const image = await findImage(context, names);
  if (image === undefined || isIncompleteClone(context, names.volume, image))
    throw new Failure('VolumeNotFound', { volumeId });
  if (checkSameContent(context, storedOf(image), replacement)) {
    await removeOld(context, names);
    await removeAttempts(context, { kind: 'volume', name: volumeId, except: names.old });
    return true;
  }
  const by = await findOpener(context, volumeId);
  if (by !== undefined) throw new Failure('VolumeInUse', { volumeId, by });
  refuseSnapshots(volumeId, image);
  await makeWhole(context, names, replacement);
  await putAside(context, volumeId, names);
  await renameUnlessTaken(context, names.clone, names.volume);
  return false;
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

/** The volume's image; where a killed call has left none, what has the new bytes gets the name, or else the old one gets it back. */
async function findImage(context: RbdContext, names: Names): Promise<RbdImage | undefined> {
  const { cluster } = context;
  const { volume, clone, old, content } = names;
  const image = await cluster.describeImage(volume, [MARKER_KEY]);
  if (image !== undefined) return image;
  const aside = await cluster.describeImage(old, [MARKER_KEY]);
  if (hasContent(aside, content)) await renameUnlessTaken(context, old, volume);
  else if (await isWhole(context, clone)) await renameUnlessTaken(context, clone, volume);
  else if (aside !== undefined) await renameUnlessTaken(context, old, volume);
  return await cluster.describeImage(volume, [MARKER_KEY]);
}

/**
 * Takes the volume's name from the old image, unless another call has. The image that lost its name is examined again: where it has the new bytes, or
 * somebody has taken a snapshot meanwhile, it gets the name back.
 */
async function putAside(context: RbdContext, volumeId: VolumeId, { volume, old, content }: Names): Promise<void> {
  const { cluster } = context;
  await finishRename(context, old, volume);
  try {
    await cluster.renameImage(volume, old);
  } catch (error) {
    if (isCephError(error, 'absent', 'exists')) return;
    throw error;
  }
  const moved = await cluster.describeImage(old, [MARKER_KEY]);
  if (moved === undefined) return;
  if (hasContent(moved, content)) return await cluster.renameImage(old, volume);
  try {
    refuseSnapshots(volumeId, moved);
  } catch (error) {
    await cluster.renameImage(old, volume);
    throw error;
  }
}

/** An image with the new bytes that a late call put aside gets its name back. One whose deleted snapshots have clones waits for them in the trash. */
async function removeOld(context: RbdContext, { volume, old, content }: Names): Promise<void> {
  const { cluster, pool } = context;
  if (await finishRename(context, old, volume)) return;
  const image = await cluster.describeImage(old, [MARKER_KEY]);
  if (hasContent(image, content)) return await renameUnlessTaken(context, old, volume);
  try {
    // Also what does not open: a removal that was killed.
    await cluster.removeImage(old);
  } catch (error) {
    if (!isCephError(error, 'not-empty')) throw error;
    await unlessAbsent(cluster.moveToTrash(old));
  }
  if (image?.parent?.inTrash === true && image.parent.pool === pool.pool)
    await removeUnneeded(context, image.parent.image);
}

function hasContent(image: RbdImage | undefined, content: ContentId): boolean {
  return image !== undefined && storedOf(image)?.marker.content === content;
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
    return hasContent(image, content) ? connectionOf(context, names.volume) : undefined;
  });
}

async function isWhole(context: RbdContext, clone: string): Promise<boolean> {
  const image = await context.cluster.describeImage(clone, [MARKER_KEY]);
  return image !== undefined && !isIncompleteClone(context, clone, image) && storedOf(image) !== undefined;
}
