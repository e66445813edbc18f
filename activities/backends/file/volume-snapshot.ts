import { chmod, open } from 'node:fs/promises';
import { syncPath, writeAll } from '../../../lib/files';
import { Failure } from '../../../workflows/contract/failures';
import type { SnapshotId, VolumeId } from '../../../workflows/contract/ids';
import type { Connection } from '../../../workflows/contract/volume';
import { growQcow2, isLockRefused, isOpenForWriting } from '../../image/qemu-img';
import type { CopyOptions, SnapshotDescription, SnapshotMarker, SnapshotRef, VolumeMarker } from '../backend';
import { checkSameSnapshot, type StoredVolumeMarker } from '../markers';
import { checkSize } from '../sizes';
import { forgetClone, noteClone } from './clone-notes';
import type { FileBackendContext } from './context';
import { copyDisk } from './copy-disk';
import { checkClaim } from './directory';
import { publishFile, removeFile, replaceFile, syncDirectory } from './durable';
import { versionOf } from './flatten';
import { attemptPaths, imagePaths, newAttempt, snapshotPaths, volumePaths } from './layout';
import { findSnapshotMarker, writeJson } from './markers';
import { MAX_OVERLAY_BYTES, withAnnotation } from './qcow2-overlay';
import { removeAttempts } from './remove';
import { confirmPublished, findDisk, findVolumeFile, readHead, readVolume, type FoundVolume } from './volume';

const SNAPSHOT_MODE = 0o400;
const VOLUME_MODE = 0o600;
/** Of one call: a guest that comes and goes meanwhile makes a copy worthless. */
const MAX_COPIES = 3;

/**
 * See `VolumeBackend.ensureSnapshot`: a copy of the volume's file in its form. Where somebody has that open for writing it is refused, since what is in
 * the guest's or in QEMU's memory would be missing from it.
 */
export async function ensureSnapshot(
  context: FileBackendContext,
  marker: SnapshotMarker,
  options: CopyOptions = {},
): Promise<SnapshotDescription & { kind: 'present' }> {
  await checkClaim(context);
  const paths = snapshotPaths(context.layout, marker.snapshotId);
  if ((await findDisk(paths)) === undefined) await makeSnapshot(context, marker, options);
  const made = await describeSnapshot(context, marker);
  if (made.kind === 'absent')
    throw new Failure('BackendUnavailable', {
      backend: context.name,
      cause: 'the snapshot was deleted while it was made',
    });
  checkSameSnapshot(context.name, made.marker, marker);
  await syncDirectory(context.layout.snapshots);
  await removeAttempts(context, 'snapshot', marker.snapshotId);
  return made;
}

async function makeSnapshot(context: FileBackendContext, marker: SnapshotMarker, options: CopyOptions): Promise<void> {
  const { layout } = context;
  const { snapshotId, volumeId } = marker;
  const paths = snapshotPaths(layout, snapshotId);
  const volume = await findVolumeFile(context, volumeId);
  if (volume === undefined) throw new Failure('VolumeNotFound', { volumeId });
  const attempt = attemptPaths(layout, { kind: 'snapshot', name: snapshotId, attempt: newAttempt() });
  const { neededParent: parent } = await readVolume(volume);
  try {
    if (parent !== undefined) await noteClone(context, { parent, id: snapshotId });
    await copyUnwritten(context, { volumeId, volume, target: attempt.data }, options);
    await chmod(attempt.data, SNAPSHOT_MODE);
    await syncPath(attempt.data);
    await writeJson(attempt.marker, { marker });
    await replaceFile(attempt.marker, paths.marker);
    await publishFile(attempt.data, paths[volume.format]);
  } catch (error) {
    await Promise.all([removeFile(attempt.data), removeFile(attempt.marker)]);
    throw error;
  }
}

/** @throws VolumeInUse when somebody has the volume open for writing, or has written it each time that it was copied. */
async function copyUnwritten(
  context: FileBackendContext,
  { volumeId, volume, target }: { volumeId: VolumeId; volume: FoundVolume; target: string },
  options: CopyOptions,
): Promise<void> {
  const { path } = volume;
  const inUse = new Failure('VolumeInUse', { volumeId, by: 'a QEMU process' });
  for (let copies = 0; copies < MAX_COPIES; copies += 1) {
    const version = await versionOf(path);
    if (await isOpenForWriting(path)) throw inUse;
    try {
      await copyDisk(context, { source: path, target }, options);
    } catch (error) {
      throw isLockRefused(error) ? inUse : error;
    }
    if ((await versionOf(path)) === version) return;
    await removeFile(target);
  }
  throw inUse;
}

/** See `VolumeBackend.describeSnapshot`. */
export async function describeSnapshot(
  context: FileBackendContext,
  { snapshotId }: Pick<SnapshotRef, 'snapshotId'>,
): Promise<SnapshotDescription> {
  const found = await findSnapshot(context, snapshotId);
  if (found === undefined) return { kind: 'absent' };
  const { file, sizeBytes, marker, parent } = found;
  return { kind: 'present', sizeBytes, realBytes: file.realBytes, marker, ...(parent !== undefined && { parent }) };
}

interface FoundSnapshot {
  file: FoundVolume;
  sizeBytes: number;
  marker: SnapshotMarker;
  parent: string | undefined;
}

/** @throws ForeignObject for a file that has no marker of a snapshot. */
async function findSnapshot(context: FileBackendContext, snapshotId: SnapshotId): Promise<FoundSnapshot | undefined> {
  const file = await findDisk(snapshotPaths(context.layout, snapshotId));
  if (file === undefined) {
    await checkClaim(context);
    return undefined;
  }
  const marker = await findSnapshotMarker(file.markerPath);
  if (marker?.installation !== context.installation)
    throw new Failure('ForeignObject', { backend: context.name, object: `snapshot ${snapshotId}` });
  const { sizeBytes, neededParent: parent } = await readVolume(file);
  return { file, sizeBytes, marker, parent };
}

/** @throws SnapshotNotFound. */
export async function expectSnapshot(context: FileBackendContext, snapshotId: SnapshotId): Promise<FoundSnapshot> {
  const found = await findSnapshot(context, snapshotId);
  if (found === undefined) throw new Failure('SnapshotNotFound', { snapshotId });
  return found;
}

/** See `VolumeBackend.ensureSnapshotAbsent`. The bytes go first: a marker without a snapshot is a leftover. */
export async function ensureSnapshotAbsent(
  context: FileBackendContext,
  { snapshotId }: Pick<SnapshotRef, 'snapshotId'>,
): Promise<void> {
  const paths = snapshotPaths(context.layout, snapshotId);
  await checkClaim(context);
  const found = await findSnapshot(context, snapshotId);
  await removeAttempts(context, 'snapshot', snapshotId);
  for (const path of [paths.raw, paths.qcow2, paths.marker]) await removeFile(path);
  await syncDirectory(context.layout.snapshots);
  if (found?.parent !== undefined) await forgetClone(context, { parent: found.parent, id: snapshotId });
}

/** See `VolumeBackend.cloneSnapshot`: a copy of the snapshot's file in its form, which does not need the snapshot any more. */
export async function cloneSnapshot(
  context: FileBackendContext,
  { snapshot: { snapshotId }, marker }: { snapshot: SnapshotRef; marker: VolumeMarker },
  options: CopyOptions = {},
): Promise<Connection> {
  const stored: StoredVolumeMarker = { marker, parent: null, snapshot: snapshotId };
  if ((await findVolumeFile(context, marker.volumeId)) === undefined) {
    const snapshot = await expectSnapshot(context, snapshotId);
    const { format } = snapshot.file;
    checkSize(marker.sizeBytes, {
      leastBytes: snapshot.sizeBytes,
      mostBytes: format === 'qcow2' ? MAX_OVERLAY_BYTES : undefined,
    });
    await makeVolume(context, { snapshot, stored }, options);
  }
  const connection = await confirmPublished(context, stored);
  await removeAttempts(context, 'volume', marker.volumeId);
  return connection;
}

async function makeVolume(
  context: FileBackendContext,
  { snapshot, stored }: { snapshot: FoundSnapshot; stored: StoredVolumeMarker },
  options: CopyOptions,
): Promise<void> {
  const { layout } = context;
  const { file, parent } = snapshot;
  const { volumeId, sizeBytes } = stored.marker;
  const paths = volumePaths(layout, volumeId);
  const attempt = attemptPaths(layout, { kind: 'volume', name: volumeId, attempt: newAttempt() });
  try {
    if (parent !== undefined) await noteClone(context, { parent, id: volumeId });
    await copyDisk(context, { source: file.path, target: attempt.data }, options);
    await chmod(attempt.data, VOLUME_MODE);
    if (file.format === 'raw') {
      await writeJson(attempt.marker, stored);
      await growRaw(attempt.data, sizeBytes);
      await replaceFile(attempt.marker, paths.marker);
    } else {
      const base = parent === undefined ? undefined : imagePaths(layout, parent).data;
      const disk = { path: attempt.data, format: 'qcow2', ...(base !== undefined && { parent: base }) } as const;
      if (snapshot.sizeBytes < sizeBytes) await growQcow2(disk, sizeBytes);
      await annotate(attempt.data, JSON.stringify(stored));
    }
    await publishFile(attempt.data, paths[file.format]);
    await syncDirectory(layout.volumes);
  } catch (error) {
    await Promise.all([removeFile(attempt.data), removeFile(attempt.marker)]);
    throw error;
  }
}

async function growRaw(path: string, sizeBytes: number): Promise<void> {
  await using file = await open(path, 'r+');
  await file.truncate(sizeBytes);
  await file.sync();
}

/** The marker of an overlay is in its header: the snapshot's has that of its volume. */
async function annotate(path: string, annotation: string): Promise<void> {
  const head = await readHead(path);
  await using file = await open(path, 'r+');
  await writeAll(file, withAnnotation(head, annotation), 0);
  await file.sync();
}
