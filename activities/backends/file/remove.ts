import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '../../../workflows/contract/failures';
import type { VolumeId } from '../../../workflows/contract/ids';
import { findCloneOf, forgetClone, forgetClonesOf } from './clone-notes';
import type { ObjectKind } from '../backend';
import type { FileBackendContext } from './context';
import { checkClaim } from './directory';
import { removeFile, syncDirectory } from './durable';
import { imagePaths, parseFileName, partialsOf, volumePaths } from './layout';
import { findImageMarker } from './markers';
import { findVolumeFile, readVolume } from './volume';

/** See `VolumeBackend.ensureVolumeAbsent`. The bytes go first: a marker without a volume is a leftover, a volume without one a riddle. */
export async function ensureVolumeAbsent(context: FileBackendContext, volumeId: VolumeId): Promise<void> {
  const paths = volumePaths(context.layout, volumeId);
  await checkClaim(context);
  const parent = await refuseForeignVolume(context, volumeId);
  // Twice: an overlay that is being flattened may get its name once more, until its attempt is gone.
  for (let round = 0; round < 2; round += 1) {
    await removeAttempts(context, 'volume', volumeId);
    for (const path of [paths.raw, paths.qcow2, paths.marker]) await removeFile(path);
  }
  await syncDirectory(context.layout.volumes);
  if (parent !== undefined) await forgetClone(context, { parent, id: volumeId });
}

/** See `VolumeBackend.ensureImageVolumeAbsent`. Leases keep a parent that is being cloned; this looks at what the disk says as well. */
export async function ensureImageVolumeAbsent(context: FileBackendContext, name: string): Promise<void> {
  const paths = imagePaths(context.layout, name);
  await checkClaim(context);
  const stored = await findImageMarker(paths.marker);
  if (stored !== undefined && stored.marker.installation !== context.installation) {
    throw new Failure('ForeignObject', { backend: context.name, object: `image-volume ${name}` });
  }
  const clone = await findCloneOf(context, name);
  if (clone !== undefined)
    throw new Failure('ParentUnusable', { backend: context.name, parent: name, found: `still needed by ${clone}` });
  for (const path of [paths.data, paths.marker]) await removeFile(path);
  await removeAttempts(context, 'image-volume', name);
  await syncDirectory(context.layout.images);
  await forgetClonesOf(context, name);
}

/** Removes all attempts at `name`. Reads the names of what is on its way, not of what is there. */
export async function removeAttempts({ layout }: FileBackendContext, kind: ObjectKind, name: string): Promise<void> {
  const directory = partialsOf(layout, kind);
  const files = (await readdir(directory)).filter((file) => {
    const parsed = parseFileName(file);
    return parsed?.extension === 'partial' && parsed.name === name;
  });
  for (const file of files) await removeFile(join(directory, file));
}

/** @returns the image-volume that it needs, if it is there and needs one. */
async function refuseForeignVolume(context: FileBackendContext, volumeId: VolumeId): Promise<string | undefined> {
  const volume = await findVolumeFile(context, volumeId);
  if (volume === undefined) return undefined;
  const { stored, neededParent } = await readVolume(volume);
  const installation = stored?.marker.installation;
  if (installation === undefined || installation === context.installation) return neededParent;
  throw new Failure('ForeignObject', { backend: context.name, object: `volume ${volumeId}` });
}
