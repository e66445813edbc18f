import { link, readdir, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Failure } from '../../../workflows/contract/failures';
import type { VolumeId } from '../../../workflows/contract/ids';
import { convertOverlay, isLockRefused, isOpenForWriting, isOpenInQemu, withoutWriters } from '../../image/qemu-img';
import type { FlattenOptions } from '../backend';
import type { FileBackendContext } from './context';
import { checkClaim } from './directory';
import { removeFile, syncDirectory, writeNewFile } from './durable';
import { attemptPaths, newAttempt, parseFileName, volumePaths } from './layout';
import { formatOverlay, parseOverlay, type Overlay } from './qcow2-overlay';
import { findVolumeFile, readHead } from './volume';
import { unlessAbsent } from '../../../lib/errno';
import { pathExists } from '../../../lib/files';

export type Flattened = 'flattened' | 'independent' | 'absent';

/**
 * See `VolumeBackend.ensureFlattened`. The overlay's guest bytes are written into a qcow2 of its own, which then takes its name; the marker goes along.
 *
 * A guest may start between the copy and the rename. So the rename happens under QEMU's own lock, which lets no guest open the overlay for writing, and only
 * when the overlay is what it was before the copy; else it is copied again. One that had opened the file before, and locks it only when that lock is gone,
 * would write into a file that has lost its name: the overlay keeps a second name until nobody is seen to have it open; else it gets its name back.
 * A volume that is deleted meanwhile stays deleted: the removal deletes the attempt before the rename can happen, or the file after it.
 */
export async function ensureFlattened(
  context: FileBackendContext,
  volumeId: VolumeId,
  options: FlattenOptions,
): Promise<Flattened> {
  await checkClaim(context);
  for (let copies = 0; copies < MAX_COPIES; copies += 1) {
    await settleReplaced(context, volumeId);
    const copy = await planCopy(context, volumeId, options);
    if (typeof copy === 'string') return copy;
    if (!(await replaceByCopy(context, copy))) continue;
    await settleReplaced(context, volumeId);
    return 'flattened';
  }
  // Whenever it was looked at nobody had it open, and each time it had been written.
  throw inUse(volumeId);
}

/** Of one call: a guest that comes and goes meanwhile makes a copy worthless. */
const MAX_COPIES = 3;

/** @returns what there is to copy, or why nothing is. @throws VolumeInUse, ForeignObject. */
async function planCopy(
  context: FileBackendContext,
  volumeId: VolumeId,
  options: FlattenOptions,
): Promise<Copy | 'absent' | 'independent'> {
  const { qcow2: path } = volumePaths(context.layout, volumeId);
  const volume = await findVolumeFile(context, volumeId);
  if (volume === undefined) return 'absent';
  if (volume.format === 'raw') return 'independent';
  const version = await versionOf(path);
  const overlay = parseOverlay(await readHead(path));
  if (overlay?.backingFile === undefined) return 'independent';
  const parent = join(context.layout.volumes, overlay.backingFile);
  if (dirname(parent) !== context.layout.images)
    throw new Failure('ForeignObject', { backend: context.name, object: `the parent of volume ${volumeId}` });
  if (await isOpenInQemu(path)) throw inUse(volumeId);
  return { volumeId, path, version, parent, overlay, options };
}

interface Copy {
  volumeId: VolumeId;
  path: string;
  /** Before anything of it was read. */
  version: string;
  parent: string;
  overlay: Partial<Overlay> & Pick<Overlay, 'virtualBytes'>;
  options: FlattenOptions;
}

/** @returns false when somebody has written meanwhile: the overlay is as it was then. */
async function replaceByCopy(context: FileBackendContext, copy: Copy): Promise<boolean> {
  const { volumeId, path, version, overlay } = copy;
  const attempt = newAttempt();
  const target = attemptPaths(context.layout, { kind: 'volume', name: volumeId, attempt }).data;
  const replaced = attemptPaths(context.layout, {
    kind: 'volume',
    name: volumeId,
    attempt: `${attempt}${REPLACED}`,
  }).data;
  try {
    const { virtualBytes, annotation = '' } = overlay;
    await writeNewFile(target, formatOverlay({ virtualBytes, annotation }));
    await copyGuestBytes(context, copy, target);
    const done = await underLock(copy, async () => {
      if ((await versionOf(path)) !== version) return false;
      await link(path, replaced);
      if ((await versionOf(replaced)) !== version) throw changedMeanwhile(context);
      await rename(target, path);
      await syncDirectory(context.layout.volumes);
      return true;
    });
    if (!done) await removeFile(target);
    return done;
  } catch (error) {
    await Promise.all([removeFile(target), removeUnneeded(path, replaced)]);
    throw error;
  }
}

/** Tells a file from what it is after any write: a write moves its time, by more than the kernel's clock for it is coarse, since a copy takes longer. */
export async function versionOf(path: string): Promise<string> {
  const { ino, size, mtimeNs } = await stat(path, { bigint: true });
  return `${ino} ${size} ${mtimeNs}`;
}

async function underLock<Result>({ volumeId, path }: Copy, work: () => Promise<Result>): Promise<Result> {
  try {
    return await withoutWriters(path, work);
  } catch (error) {
    throw isLockRefused(error) ? inUse(volumeId) : error;
  }
}

async function copyGuestBytes(
  context: FileBackendContext,
  { volumeId, path, parent, overlay, options }: Copy,
  target: string,
): Promise<void> {
  try {
    await convertOverlay({
      overlay: path,
      parent,
      target: { path: target, virtualBytes: overlay.virtualBytes },
      backend: context.name,
      ...options,
    });
  } catch (error) {
    throw isLockRefused(error) ? inUse(volumeId) : error;
  }
  const written = parseOverlay(await readHead(target));
  if (written?.virtualBytes !== overlay.virtualBytes || written.annotation !== overlay.annotation)
    throw new Failure('ToolFailed', { tool: 'qemu-img', exit: 'exit 0', stderr: 'the copy has lost its header' });
}

/** Of the second name that an overlay has while it is replaced. */
const REPLACED = '-replaced';

/** Whether an attempt is such a second name, which a guest may have open. */
export function isReplaced(attempt: string): boolean {
  return attempt.endsWith(REPLACED);
}

/** Finishes a replacement, this one or one that was killed. @throws VolumeInUse when a guest has the overlay open: it has its name again. */
export async function settleReplaced(context: FileBackendContext, volumeId: VolumeId): Promise<void> {
  const { partialVolumes } = context.layout;
  for (const file of await readdir(partialVolumes)) {
    const parsed = parseFileName(file);
    if (parsed?.name !== volumeId || !isReplaced(parsed.attempt ?? '')) continue;
    await settleSecondName(context, volumeId, join(partialVolumes, file));
  }
}

/** As `settleReplaced`, for one second name, wherever it is. */
export async function settleSecondName(
  { layout }: FileBackendContext,
  volumeId: VolumeId,
  replaced: string,
): Promise<void> {
  const { qcow2: path } = volumePaths(layout, volumeId);
  if (!(await pathExists(replaced)) || (await isSameFile(path, replaced))) return; // Not replaced yet, or given back.
  if (await isOpenForWriting(replaced)) {
    await unlessAbsent(rename(replaced, path));
    await syncDirectory(layout.volumes);
    throw inUse(volumeId);
  }
  await removeFile(replaced);
}

/** Where the rename did not happen, or the volume was deleted, the second name is one too many. */
async function removeUnneeded(path: string, replaced: string): Promise<void> {
  if (!(await pathExists(path)) || (await isSameFile(path, replaced))) await removeFile(replaced);
}

async function isSameFile(a: string, b: string): Promise<boolean> {
  const [first, second] = await Promise.all([unlessAbsent(stat(a)), unlessAbsent(stat(b))]);
  return first !== undefined && first.ino === second?.ino;
}

function inUse(volumeId: VolumeId): Failure {
  return new Failure('VolumeInUse', { volumeId, by: 'a QEMU process' });
}

function changedMeanwhile({ name }: FileBackendContext): Failure {
  return new Failure('BackendUnavailable', { backend: name, cause: 'the volume was replaced while it was flattened' });
}
