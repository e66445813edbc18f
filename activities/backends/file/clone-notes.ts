import { mkdir, open, opendir, readdir, rm, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { FileBackendContext } from './context';
import { syncDirectory } from './durable';
import {
  clonesPath,
  imageVolumeOf,
  isImageVolumeName,
  isVolumeId,
  objectsOf,
  parseFileName,
  partialsOf,
  snapshotPaths,
  volumePaths,
  type Layout,
} from './layout';
import { parseOverlay } from './qcow2-overlay';
import { readHead } from './volume';
import { unlessAbsent, hasCode } from '../../../lib/errno';
import { pathExists } from '../../../lib/files';

/*
 * Which overlays need an image-volume, told without opening all overlays: an overlay is noted, durably, before it can be seen, so an image-volume
 * that no note names is needed by none. A note alone proves nothing: the overlay that it names is examined.
 */

/** Notes that have been made again or begun with an empty directory: until it is there, some may be missing. No image-volume has a name with a dot. */
const COMPLETE = '.complete';

interface CloneNote {
  parent: string;
  /** Of the volume or the snapshot. */
  id: string;
}

/** Kinds of objects that may be overlays. */
const OVERLAY_KINDS = ['volume', 'snapshot'] as const;

/** Notes that an overlay needs its parent; durable when this returns. Idempotent. */
export async function noteClone({ layout }: Pick<FileBackendContext, 'layout'>, note: CloneNote): Promise<void> {
  const directory = clonesPath(layout, note.parent);
  await writeNote(layout, note);
  await syncDirectory(directory);
}

/** As `noteClone`, for one that should be noted already: a person, or a worker of an earlier version, has put it there. */
export async function ensureCloneNoted(context: Pick<FileBackendContext, 'layout'>, note: CloneNote): Promise<void> {
  if (!isImageVolumeName(note.parent)) return;
  if (!(await pathExists(join(clonesPath(context.layout, note.parent), note.id)))) await noteClone(context, note);
}

/** After the overlay is gone. A note that a kill leaves is deleted with the parent. */
export async function forgetClone({ layout }: FileBackendContext, { parent, id }: CloneNote): Promise<void> {
  if (isImageVolumeName(parent)) await unlessAbsent(unlink(join(clonesPath(layout, parent), id)));
}

/** After the image-volume is gone. */
export async function forgetClonesOf({ layout }: FileBackendContext, imageVolume: string): Promise<void> {
  await rm(clonesPath(layout, imageVolume), { recursive: true, force: true });
}

/** A directory that holds neither a volume nor a snapshot has no clone to note. */
export async function beginCloneNotes(layout: Layout): Promise<void> {
  for (const kind of OVERLAY_KINDS) for await (const _ of await opendir(objectsOf(layout, kind))) return;
  await declareComplete(layout);
}

/** @returns the name of an overlay, published or on its way, whose backing file is the image-volume. Opens those that are noted or on their way. */
export async function findCloneOf(context: FileBackendContext, imageVolume: string): Promise<string | undefined> {
  const { layout } = context;
  await ensureAllNoted(context);
  for (const note of (await unlessAbsent(readdir(clonesPath(layout, imageVolume)))) ?? []) {
    if (!isVolumeId(note)) continue;
    for (const { qcow2 } of [volumePaths(layout, note), snapshotPaths(layout, note)])
      if ((await findParent(layout, qcow2)) === imageVolume) return `${note}.qcow2`;
  }
  for (const directory of OVERLAY_KINDS.map((kind) => partialsOf(layout, kind)))
    for (const file of await readdir(directory))
      if ((await findParent(layout, join(directory, file))) === imageVolume) return file;
  return undefined;
}

/** Once for a directory that an earlier version has filled, or that was moved without its notes: opens every overlay. */
async function ensureAllNoted({ layout }: FileBackendContext): Promise<void> {
  if (await pathExists(join(layout.clones, COMPLETE))) return;
  const parents = new Set<string>();
  for (const directory of OVERLAY_KINDS.map((kind) => objectsOf(layout, kind)))
    for await (const { name: file } of await opendir(directory)) {
      const parsed = parseFileName(file);
      if (parsed?.extension !== 'qcow2' || !isVolumeId(parsed.name)) continue;
      const parent = await findParent(layout, join(directory, file));
      if (parent === undefined) continue;
      parents.add(parent);
      await writeNote(layout, { parent, id: parsed.name });
    }
  for (const parent of parents) await syncDirectory(clonesPath(layout, parent));
  await declareComplete(layout);
}

async function declareComplete({ clones }: Layout): Promise<void> {
  await writeEmpty(join(clones, COMPLETE));
  await syncDirectory(clones);
}

/** @returns the image-volume that an overlay cannot be read without. */
async function findParent(layout: Layout, path: string): Promise<string | undefined> {
  const head = await unlessAbsent(readHead(path));
  const backingFile = head && parseOverlay(head)?.backingFile;
  return backingFile === undefined ? undefined : imageVolumeOf(layout, backingFile);
}

async function writeNote(layout: Layout, { parent, id }: CloneNote): Promise<void> {
  const directory = clonesPath(layout, parent);
  const path = join(directory, id);
  try {
    await writeEmpty(path);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
    await makeDirectory(layout, directory);
    await writeEmpty(path);
  }
}

async function makeDirectory({ clones }: Layout, directory: string): Promise<void> {
  try {
    await mkdir(directory, { mode: 0o700 });
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
  }
  await syncDirectory(clones);
}

async function writeEmpty(path: string): Promise<void> {
  await (await open(path, 'a', 0o600)).close();
}
