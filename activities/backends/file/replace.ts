import { stat } from 'node:fs/promises';
import { Failure } from '../../../workflows/contract/failures';
import type { ContentId, VolumeId } from '../../../workflows/contract/ids';
import type { Connection } from '../../../workflows/contract/volume';
import { isLockRefused, isOpenInQemu, withoutWriters } from '../../image/qemu-img';
import type { VolumeReplacement } from '../backend';
import { checkSameContent, type StoredVolumeMarker } from '../markers';
import { checkSize } from '../sizes';
import { removeAttempt, writeClone } from './clone';
import { forgetClone } from './clone-notes';
import { settleReplaced as settleSecondNames } from './flatten';
import type { FileBackendContext } from './context';
import { checkClaim } from './directory';
import { removeFile, replaceFile, syncDirectory } from './durable';
import { attemptPaths, newAttempt, volumePaths } from './layout';
import { MAX_OVERLAY_BYTES } from './qcow2-overlay';
import { writeJson, type WrittenVolumeMarker } from './markers';
import { removeAttempts } from './remove';
import { growFile } from './seal';
import { connectionOf, describeVolume, findVolumeFile, readVolume, type FoundVolume } from './volume';

/**
 * See `VolumeBackend.ensureReplaced`. The new file is made beside the volume and takes its name in one step, under QEMU's own lock, which lets no guest open
 * the old file for writing then. A raw one's marker tells of it before, and of nothing else afterwards.
 */
export async function ensureReplaced(context: FileBackendContext, replacement: VolumeReplacement): Promise<Connection> {
  const { parent, target, marker } = replacement;
  const { volumeId } = marker;
  const format = target === undefined && context.method === 'overlay' ? 'qcow2' : 'raw';
  const paths = volumePaths(context.layout, volumeId);
  await checkClaim(context);
  await settleSecondNames(context, volumeId);
  const found = await findVolumeFile(context, volumeId);
  if (found === undefined) throw new Failure('VolumeNotFound', { volumeId });
  const { stored, neededParent } = await readVolume(found);
  if (!checkSameContent(context, stored, replacement)) {
    const { virtualBytes: leastBytes } = target === undefined ? await context.checkParent(parent) : target;
    checkSize(marker.sizeBytes, { leastBytes, mostBytes: format === 'qcow2' ? MAX_OVERLAY_BYTES : undefined });
    if (await isOpenInQemu(found.path)) throw inUse(marker);
    await replace({ context, found, format }, replacement);
    if (neededParent !== undefined && neededParent !== parent)
      await forgetClone(context, { parent: neededParent, id: volumeId });
  }
  await settleFiles(context, volumeId);
  await removeAttempts(context, 'volume', volumeId);
  await syncDirectory(context.layout.volumes);
  return connectionOf({ path: paths[format], format });
}

/** See `VolumeBackend.settleReplaced`. It takes place in one step, and a call that fails leaves nothing. */
export async function settleReplaced(
  context: FileBackendContext,
  volumeId: VolumeId,
  content: ContentId,
): Promise<Connection | undefined> {
  await settleFiles(context, volumeId);
  const found = await describeVolume(context, volumeId);
  return found.kind === 'present' && found.marker?.content === content ? found.connection : undefined;
}

/** Leaves one form of a volume, with a marker of its own alone. An overlay is what a volume is as long as there is one. */
async function settleFiles(context: FileBackendContext, volumeId: VolumeId): Promise<void> {
  const paths = volumePaths(context.layout, volumeId);
  const found = await findVolumeFile(context, volumeId);
  if (found?.format === 'qcow2') for (const path of [paths.raw, paths.marker]) await removeFile(path);
  if (found?.format !== 'raw') return;
  const { stored, isSettled } = await readVolume(found);
  if (stored !== undefined && !isSettled) await writeMarker(context, stored);
}

async function writeMarker({ layout }: FileBackendContext, marker: WrittenVolumeMarker): Promise<void> {
  const { volumeId } = marker.marker;
  const temporary = attemptPaths(layout, { kind: 'volume', name: volumeId, attempt: newAttempt() }).marker;
  await writeJson(temporary, marker);
  await replaceFile(temporary, volumePaths(layout, volumeId).marker);
  await syncDirectory(layout.volumes);
}

interface Replacing {
  context: FileBackendContext;
  found: FoundVolume;
  /** Of the new bytes. */
  format: FoundVolume['format'];
}

async function replace(replacing: Replacing, replacement: VolumeReplacement): Promise<void> {
  const { context, found } = replacing;
  const { parent, target, marker } = replacement;
  const name = target?.attempt ?? newAttempt();
  const attempt = attemptPaths(context.layout, { kind: 'volume', name: marker.volumeId, attempt: name });
  try {
    if (target === undefined) await writeClone({ context, parent, marker, attempt });
    else await growFile(attempt.data, marker.sizeBytes);
    await withoutWriters(found.path, async () => {
      // Somebody else may have been faster.
      const { stored } = await readVolume(found);
      if (checkSameContent(context, stored, replacement) || stored === undefined) return;
      await takePlace(replacing, { data: attempt.data, former: stored, stored: { marker, parent: parent ?? null } });
    });
    await syncDirectory(context.layout.volumes);
  } catch (error) {
    await removeAttempt(attempt);
    throw isLockRefused(error) ? inUse(marker) : error;
  }
}

/** The one step is the rename, or the removal of the overlay that a raw file takes the place of. */
async function takePlace(
  { context, found, format }: Replacing,
  { data, former, stored }: { data: string; former: StoredVolumeMarker; stored: StoredVolumeMarker },
): Promise<void> {
  const paths = volumePaths(context.layout, stored.marker.volumeId);
  if (format === 'qcow2') return await replaceFile(data, paths.qcow2);
  const { ino: inode } = await stat(data);
  if (found.format === 'qcow2') await writeMarker(context, stored);
  else await writeMarker(context, { ...former, next: { inode, stored } });
  await replaceFile(data, paths.raw);
  await syncDirectory(context.layout.volumes);
  if (found.format === 'qcow2') await removeFile(paths.qcow2);
}

function inUse({ volumeId }: VolumeReplacement['marker']): Failure {
  return new Failure('VolumeInUse', { volumeId, by: 'a QEMU process' });
}
