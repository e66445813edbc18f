import { opendir, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { BackendObject, Marker, ObjectKind } from '../backend';
import { ensureCloneNoted } from './clone-notes';
import type { FileBackendContext } from './context';
import { checkClaim } from './directory';
import { toFailure } from './errors';
import {
  imagePaths,
  isVolumeId,
  markedPaths,
  objectsOf,
  ORPHANED_MARKER,
  parseFileName,
  partialsOf,
  snapshotPaths,
  volumePaths,
} from './layout';
import { findImageMarker, findSnapshotMarker } from './markers';
import { findDisk, readVolume, usageOf } from './volume';
import { unlessAbsent } from '../../../lib/errno';
import { pathExists } from '../../../lib/files';

/** Entries that the root may hold: `lost+found` is the file system's own. */
const OWN_ENTRIES = new Set([
  'backend.json',
  'images',
  'volumes',
  'snapshots',
  'partial-images',
  'partial-volumes',
  'partial-snapshots',
  'clones',
  'lost+found',
]);

/** Everything below the backend's directory, a directory at a time; those removed meanwhile are left out. Overlays that are not noted as clones are then. */
export async function* listObjects(context: FileBackendContext): AsyncIterable<BackendObject> {
  try {
    await checkClaim(context);
    yield* listRoot(context);
    for (const kind of ['image-volume', 'volume', 'snapshot'] as const) {
      yield* listDirectory(context, kind, objectsOf(context.layout, kind));
      yield* listDirectory(context, kind, partialsOf(context.layout, kind));
    }
    // A list that ended with the mount is not a list.
    await checkClaim(context);
  } catch (error) {
    throw await toFailure(error, context, 0);
  }
}

async function* listRoot(context: FileBackendContext): AsyncIterable<BackendObject> {
  for await (const { name } of await opendir(context.layout.directory)) {
    if (OWN_ENTRIES.has(name) || parseFileName(name)?.extension === 'partial') continue;
    const object = await describe(join(context.layout.directory, name));
    if (object) yield { kind: 'foreign', name, ...object };
  }
}

async function* listDirectory(
  context: FileBackendContext,
  kind: ObjectKind,
  directory: string,
): AsyncIterable<BackendObject> {
  for await (const { name: file } of await opendir(directory)) {
    const object = await describe(join(directory, file));
    const known = object && (await classify(context, { kind, directory, file }));
    if (object && known) yield { ...known, ...object };
  }
}

/** @returns undefined for what is told with something else: the marker of an object that is there. */
async function classify(
  context: FileBackendContext,
  { kind, directory, file }: { kind: ObjectKind; directory: string; file: string },
): Promise<Pick<BackendObject, 'kind' | 'name' | 'marker' | 'partial'> | undefined> {
  const parsed = parseFileName(file);
  const isName = kind === 'image-volume' || (parsed !== undefined && isVolumeId(parsed.name));
  const foreign = { kind: 'foreign', name: `${basename(directory)}/${file}` } as const;
  if (parsed === undefined || !isName || (kind === 'image-volume' && parsed.extension === 'qcow2')) return foreign;
  const { name, attempt, extension } = parsed;
  if (extension === 'partial' && attempt !== undefined)
    return { kind: 'partial', name: file, partial: { kind, name, attempt } };
  if (directory === partialsOf(context.layout, kind)) return foreign;
  if (extension === 'json') {
    for (const path of markedPaths(context.layout, kind, name).data) if (await pathExists(path)) return undefined;
    return { kind: 'partial', name: file, partial: { kind, name, attempt: ORPHANED_MARKER } };
  }
  const marker = await findMarker(context, kind, name);
  return marker?.installation === context.installation ? { kind, name, marker } : { ...foreign, marker };
}

async function findMarker(context: FileBackendContext, kind: ObjectKind, name: string): Promise<Marker | undefined> {
  if (kind === 'image-volume') return (await findImageMarker(imagePaths(context.layout, name).marker))?.marker;
  const { layout } = context;
  // Both have UUIDs, as `classify` has seen.
  const found = await findDisk(kind === 'volume' ? volumePaths(layout, name) : snapshotPaths(layout, name));
  if (found === undefined) return undefined;
  const read = await unlessAbsent(readVolume(found));
  if (read?.neededParent !== undefined) await ensureCloneNoted(context, { parent: read.neededParent, id: name });
  return kind === 'volume' ? read?.stored?.marker : await findSnapshotMarker(found.markerPath);
}

async function describe(path: string): Promise<{ realBytes: number; modifiedAt: Date } | undefined> {
  const found = await unlessAbsent(stat(path));
  return found && usageOf(found);
}
