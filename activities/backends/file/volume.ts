import type { Stats } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { Failure } from '../../../workflows/contract/failures';
import type { VolumeId } from '../../../workflows/contract/ids';
import type { Connection } from '../../../workflows/contract/volume';
import type { VolumeDescription } from '../backend';
import type { FileBackendContext } from './context';
import { checkClaim } from './directory';
import { syncDirectory } from './durable';
import { volumePaths, type DiskPaths } from './layout';
import { checkSameVolume, parseVolumeMarker, type StoredVolumeMarker } from '../markers';
import { findVolumeMarker } from './markers';
import { OVERLAY_HEAD_BYTES, parseOverlay } from './qcow2-overlay';
import { unlessAbsent } from '../../../lib/errno';
import { STAT_BLOCK_BYTES } from '../../../lib/files';

/** A volume as it lies in the directory. */
export interface FoundVolume {
  path: string;
  format: 'raw' | 'qcow2';
  /** Where the marker of a raw one lies. */
  markerPath: string;
  realBytes: number;
  modifiedAt: Date;
}

/** One stat for each format: whether the volume is there. */
export async function findVolumeFile(
  { layout }: FileBackendContext,
  volumeId: VolumeId,
): Promise<FoundVolume | undefined> {
  return await findDisk(volumePaths(layout, volumeId));
}

/** As `findVolumeFile`, of a volume or a snapshot. */
export async function findDisk({ raw, qcow2, marker }: DiskPaths): Promise<FoundVolume | undefined> {
  const [rawFile, overlay] = await Promise.all([unlessAbsent(stat(raw)), unlessAbsent(stat(qcow2))]);
  if (overlay !== undefined) return { path: qcow2, format: 'qcow2', markerPath: marker, ...usageOf(overlay) };
  return rawFile && { path: raw, format: 'raw', markerPath: marker, ...usageOf(rawFile) };
}

interface ReadVolume {
  sizeBytes: number;
  stored: StoredVolumeMarker | undefined;
  /** False where a replacement of its bytes was killed at its end: see `findVolumeMarker`. */
  isSettled: boolean;
  neededParent?: string;
}

/** @returns what the volume says of itself; `stored` is undefined when its marker is missing or not one of ours. */
export async function readVolume({ path, format, markerPath }: FoundVolume): Promise<ReadVolume> {
  if (format === 'raw') {
    const { size, ino } = await stat(path);
    const { stored, isSettled = true } = (await findVolumeMarker(markerPath, ino)) ?? {};
    return { sizeBytes: size, stored, isSettled };
  }
  const overlay = parseOverlay(await readHead(path));
  return {
    sizeBytes: overlay?.virtualBytes ?? 0,
    isSettled: true,
    stored: overlay?.annotation === undefined ? undefined : parseVolumeMarker(overlay.annotation),
    ...(overlay?.backingFile !== undefined && { neededParent: basename(overlay.backingFile, '.raw') }),
  };
}

export async function describeVolume(context: FileBackendContext, volumeId: VolumeId): Promise<VolumeDescription> {
  const volume = await findVolumeFile(context, volumeId);
  if (volume === undefined) {
    await checkClaim(context);
    return { kind: 'absent' };
  }
  const { sizeBytes, stored, neededParent } = await readVolume(volume);
  return {
    kind: 'present',
    sizeBytes,
    realBytes: volume.realBytes,
    modifiedAt: volume.modifiedAt,
    connection: connectionOf(volume),
    marker: stored?.marker,
    ...(neededParent !== undefined && { parent: neededParent }),
  };
}

/**
 * @returns how to attach the volume that is there, when it is what was asked for, and makes its name durable: the call that published it
 *   may have been killed before its sync.
 * @throws ForeignObject when this installation did not make it; Conflict when it is another volume of the same id.
 */
export async function confirmPublished(context: FileBackendContext, wanted: StoredVolumeMarker): Promise<Connection> {
  const { volumeId } = wanted.marker;
  const volume = await findVolumeFile(context, volumeId);
  if (volume === undefined)
    throw new Failure('BackendUnavailable', {
      backend: context.name,
      cause: 'the volume was deleted while it was made',
    });
  const { stored } = await readVolume(volume);
  if (stored?.marker.installation !== context.installation)
    throw new Failure('ForeignObject', { backend: context.name, object: `volume ${volumeId}` });
  checkSameVolume(stored, wanted);
  await syncDirectory(context.layout.volumes);
  return connectionOf(volume);
}

export function connectionOf({ path, format }: Pick<FoundVolume, 'path' | 'format'>): Connection {
  return { driver: 'file', path, format };
}

/** @returns the first cluster of a file, where an overlay's header lies. */
export async function readHead(path: string): Promise<Buffer> {
  await using file = await open(path, 'r');
  const head = Buffer.alloc(OVERLAY_HEAD_BYTES);
  const { bytesRead } = await file.read(head, 0, head.length, 0);
  return head.subarray(0, bytesRead);
}

/** @returns what a file takes up on the disk, and when it was written. */
export function usageOf({ blocks, mtime }: Stats): Pick<FoundVolume, 'realBytes' | 'modifiedAt'> {
  return { realBytes: blocks * STAT_BLOCK_BYTES, modifiedAt: mtime };
}
