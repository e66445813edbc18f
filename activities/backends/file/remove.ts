import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../../../workflows/contract/failures';
import type { VolumeId } from '../../../workflows/contract/ids';
import type { FileBackendContext } from './context';
import { checkClaim } from './directory';
import { removeFile, syncDirectory } from './durable';
import { unlessAbsent, withFailures } from './errors';
import { imagePaths, parseFileName, volumePaths } from './layout';
import { findImageMarker } from './markers';
import { parseOverlay } from './qcow2-overlay';
import { findVolume, readHead, readVolume } from './volume';

/** See `VolumeBackend.ensureVolumeAbsent`. The bytes go first: a marker without a volume is a leftover, a volume without one a riddle. */
export async function ensureVolumeAbsent(context: FileBackendContext, volumeId: VolumeId): Promise<void> {
  const paths = volumePaths(context.layout, volumeId);
  await withFailures(context, {}, async () => {
    await checkClaim(context);
    await refuseForeignVolume(context, volumeId);
    // Twice: an overlay that is being flattened may get its name once more, until its attempt is gone.
    for (let round = 0; round < 2; round += 1) {
      await removeAttempts(context.layout.volumes, volumeId);
      for (const path of [paths.raw, paths.qcow2, paths.marker]) await removeFile(path);
    }
    await syncDirectory(context.layout.volumes);
  });
}

/** See `VolumeBackend.ensureImageVolumeAbsent`. Leases keep a parent that is being cloned; this looks at what the disk says as well. */
export async function ensureImageVolumeAbsent(context: FileBackendContext, name: string): Promise<void> {
  const paths = imagePaths(context.layout, name);
  await withFailures(context, {}, async () => {
    await checkClaim(context);
    const stored = await findImageMarker(paths.marker);
    if (stored !== undefined && stored.marker.installation !== context.installation) {
      throw new Failure('ForeignObject', { backend: context.name, object: `image-volume ${name}` });
    }
    const clone = await findOverlayOf(context, name);
    if (clone !== undefined)
      throw new Failure('ParentUnusable', { backend: context.name, parent: name, found: `still needed by ${clone}` });
    for (const path of [paths.data, paths.marker]) await removeFile(path);
    await removeAttempts(context.layout.images, name);
    await syncDirectory(context.layout.images);
  });
}

/** Removes all attempts at `name` in a directory. */
export async function removeAttempts(directory: string, name: string): Promise<void> {
  const files = (await readdir(directory)).filter((file) => {
    const parsed = parseFileName(file);
    return parsed?.extension === 'partial' && parsed.name === name;
  });
  for (const file of files) await removeFile(join(directory, file));
}

async function refuseForeignVolume(context: FileBackendContext, volumeId: VolumeId): Promise<void> {
  const volume = await findVolume(context, volumeId);
  const installation = volume && (await readVolume(volume)).stored?.marker.installation;
  if (installation === undefined || installation === context.installation) return;
  throw new Failure('ForeignObject', { backend: context.name, object: `volume ${volumeId}` });
}

/** @returns the name of an overlay, published or on its way, whose backing file is the image-volume. */
async function findOverlayOf(context: FileBackendContext, name: string): Promise<string | undefined> {
  const { volumes } = context.layout;
  const backingPath = imagePaths(context.layout, name).data;
  for (const file of await readdir(volumes)) {
    const extension = parseFileName(file)?.extension;
    if (extension !== 'qcow2' && extension !== 'partial') continue;
    const head = await unlessAbsent(readHead(join(volumes, file)));
    const backingFile = head && parseOverlay(head)?.backingFile;
    if (backingFile !== undefined && join(volumes, backingFile) === backingPath) return file;
  }
  return undefined;
}
