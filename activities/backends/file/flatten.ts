import { link, readdir, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Failure } from '../../../workflows/contract/failures';
import type { VolumeId } from '../../../workflows/contract/ids';
import { convertOverlay, isOpenInQemu } from '../../image/qemu-img';
import type { FlattenOptions } from '../backend';
import type { FileBackendContext } from './context';
import { checkClaim } from './directory';
import { removeFile, syncDirectory, writeNewFile } from './durable';
import { unlessAbsent, withFailures } from './errors';
import { attemptPaths, newAttempt, parseFileName, volumePaths } from './layout';
import { formatOverlay, parseOverlay, type Overlay } from './qcow2-overlay';
import { findVolume, readHead } from './volume';

export type Flattened = 'flattened' | 'independent' | 'absent';

/**
 * See `VolumeBackend.ensureFlattened`. The overlay's guest bytes are written into a qcow2 of its own, which then takes its name; the marker goes along.
 *
 * A guest may start between the copy and the rename, and write into the file that has just lost its name. So the overlay keeps a second name until
 * nobody is seen to have it open; else it gets its name back. A volume that is deleted meanwhile stays deleted: what removes it removes the attempt
 * before the rename can happen, or the file after it.
 */
export async function ensureFlattened(
  context: FileBackendContext,
  volumeId: VolumeId,
  options: FlattenOptions,
): Promise<Flattened> {
  const { qcow2: path } = volumePaths(context.layout, volumeId);
  return await withFailures(context, {}, async () => {
    await checkClaim(context);
    await settleReplaced(context, volumeId);
    const volume = await findVolume(context, volumeId);
    if (volume === undefined) return 'absent';
    const overlay = volume.format === 'qcow2' ? parseOverlay(await readHead(path)) : undefined;
    if (overlay?.backingFile === undefined) return 'independent';
    const parent = join(context.layout.volumes, overlay.backingFile);
    if (dirname(parent) !== context.layout.images)
      throw new Failure('ForeignObject', { backend: context.name, object: `the parent of volume ${volumeId}` });
    if (await isOpenInQemu(path)) throw inUse(volumeId);
    await replaceByCopy(context, { volumeId, path, parent, overlay, options });
    await settleReplaced(context, volumeId);
    return 'flattened';
  });
}

interface Copy {
  volumeId: VolumeId;
  path: string;
  parent: string;
  overlay: Partial<Overlay> & Pick<Overlay, 'virtualBytes'>;
  options: FlattenOptions;
}

async function replaceByCopy(context: FileBackendContext, copy: Copy): Promise<void> {
  const { volumeId, path, overlay } = copy;
  const attempt = newAttempt();
  const target = attemptPaths(context.layout, { kind: 'volume', name: volumeId, attempt }).data;
  const replaced = attemptPaths(context.layout, {
    kind: 'volume',
    name: volumeId,
    attempt: `${attempt}${REPLACED}`,
  }).data;
  try {
    const { ino } = await stat(path);
    const { virtualBytes, annotation = '' } = overlay;
    await writeNewFile(target, formatOverlay({ virtualBytes, annotation }));
    await copyGuestBytes(context, copy, target);
    await link(path, replaced);
    if ((await stat(replaced)).ino !== ino) throw changedMeanwhile(context);
    await rename(target, path);
    await syncDirectory(context.layout.volumes);
  } catch (error) {
    await Promise.all([removeFile(target), removeUnneeded(path, replaced)]);
    throw error;
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
    throw isLocked(error) ? inUse(volumeId) : error;
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
  const { volumes, partialVolumes } = context.layout;
  const { qcow2: path } = volumePaths(context.layout, volumeId);
  for (const file of await readdir(partialVolumes)) {
    const parsed = parseFileName(file);
    if (parsed?.name !== volumeId || parsed.attempt?.endsWith(REPLACED) !== true) continue;
    const replaced = join(partialVolumes, file);
    if (await isSameFile(path, replaced)) continue; // Not replaced yet, or given back.
    if (await isOpenInQemu(replaced)) {
      await unlessAbsent(rename(replaced, path));
      await syncDirectory(volumes);
      throw inUse(volumeId);
    }
    await removeFile(replaced);
  }
}

/** Where the rename did not happen, or the volume was deleted, the second name is one too many. */
async function removeUnneeded(path: string, replaced: string): Promise<void> {
  if (!(await exists(path)) || (await isSameFile(path, replaced))) await removeFile(replaced);
}

async function exists(path: string): Promise<boolean> {
  return (await unlessAbsent(stat(path))) !== undefined;
}

async function isSameFile(a: string, b: string): Promise<boolean> {
  const [first, second] = await Promise.all([unlessAbsent(stat(a)), unlessAbsent(stat(b))]);
  return first !== undefined && first.ino === second?.ino;
}

/** QEMU's image locks: the guest was faster than the look before it. */
function isLocked(error: unknown): boolean {
  return error instanceof Failure && 'stderr' in error.details && /Failed to get .* lock/.test(error.details.stderr);
}

function inUse(volumeId: VolumeId): Failure {
  return new Failure('VolumeInUse', { volumeId, by: 'a QEMU process' });
}

function changedMeanwhile({ name }: FileBackendContext): Failure {
  return new Failure('BackendUnavailable', { backend: name, cause: 'the volume was replaced while it was flattened' });
}
