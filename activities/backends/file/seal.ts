import { open } from 'node:fs/promises';
import { Failure } from '../../../workflows/contract/failures';
import type { Connection } from '../../../workflows/contract/volume';
import type { ImageVolumeMarker, VolumeMarker, WriteTarget } from '../backend';
import type { FileBackendContext } from './context';
import { checkClaim } from './directory';
import { publishFile, replaceFile, syncDirectory } from './durable';
import { attemptPaths, imagePaths, newAttempt, volumePaths } from './layout';
import { isSameMarker } from '../markers';
import { findImageMarker, writeJson } from './markers';
import { describeParent, getSealedParent, SEALED_MODE } from './parent';
import { removeAttempts } from './remove';
import { checkSize } from '../sizes';
import { confirmPublished, findVolumeFile } from './volume';

type Sealed = { virtualBytes: number; realBytes: number };

/**
 * See `VolumeBackend.sealImageVolume`. Marker, then bytes: an image-volume is there when its name is. Attempts that seal one name at
 * the same moment agree on the marker that came first, and with it on the modification time that is the seal.
 */
export async function sealImageVolume(
  context: FileBackendContext,
  target: WriteTarget,
  marker: ImageVolumeMarker,
): Promise<Sealed> {
  const paths = imagePaths(context.layout, marker.name);
  const { data } = attemptPaths(context.layout, { kind: 'image-volume', name: marker.name, attempt: target.attempt });
  const { kind } = await describeParent(context, marker.name);
  if (kind === 'absent') {
    const sealedAtSeconds = await ensureImageMarker(context, marker);
    await sealFile(data, { context, marker, sealedAtSeconds });
    await publishFile(data, paths.data);
  }
  await syncDirectory(context.layout.images);
  const sealed = await getSealedParent(context, marker.name);
  await removeAttempts(context, 'image-volume', marker.name);
  return sealed;
}

/** See `VolumeBackend.publishVolume`. */
export async function publishVolume(
  context: FileBackendContext,
  target: WriteTarget,
  marker: VolumeMarker,
): Promise<Connection> {
  const paths = volumePaths(context.layout, marker.volumeId);
  const attempt = attemptPaths(context.layout, { kind: 'volume', name: marker.volumeId, attempt: target.attempt });
  checkSize(marker.sizeBytes, { leastBytes: target.virtualBytes });
  await checkClaim(context);
  if ((await findVolumeFile(context, marker.volumeId)) === undefined) {
    await growFile(attempt.data, marker.sizeBytes);
    await writeJson(attempt.marker, { marker, parent: null });
    await replaceFile(attempt.marker, paths.marker);
    await publishFile(attempt.data, paths.raw);
  }
  const connection = await confirmPublished(context, { marker, parent: null });
  await removeAttempts(context, 'volume', marker.volumeId);
  return connection;
}

/** @returns the time of the seal: that of the marker which is there, when it says the same, else now. */
async function ensureImageMarker(context: FileBackendContext, marker: ImageVolumeMarker): Promise<number> {
  const path = imagePaths(context.layout, marker.name).marker;
  const temporary = attemptPaths(context.layout, {
    kind: 'image-volume',
    name: marker.name,
    attempt: newAttempt(),
  }).marker;
  const sealedAtSeconds = Math.floor(Date.now() / 1000);
  await writeJson(temporary, { marker, sealedAtSeconds });
  const isSame = (found: Awaited<ReturnType<typeof findImageMarker>>): boolean =>
    found !== undefined && isSameMarker(found.marker, marker);
  const left = await findImageMarker(path);
  if (left === undefined || isSame(left)) await publishFile(temporary, path);
  else await replaceFile(temporary, path);
  const stored = await findImageMarker(path);
  if (stored === undefined || !isSame(stored))
    throw new Failure('BackendUnavailable', {
      backend: context.name,
      cause: `the marker of ${marker.name} was changed meanwhile`,
    });
  return stored.sealedAtSeconds;
}

async function sealFile(
  path: string,
  seal: { context: FileBackendContext; marker: ImageVolumeMarker; sealedAtSeconds: number },
): Promise<void> {
  const { context, marker, sealedAtSeconds } = seal;
  await using file = await open(path, 'r+');
  const { size } = await file.stat();
  if (size !== marker.virtualBytes) {
    throw new Failure('ParentUnusable', {
      backend: context.name,
      parent: marker.name,
      found: `written with ${size} bytes, not ${marker.virtualBytes}`,
    });
  }
  await file.chmod(SEALED_MODE);
  await file.sync(); // The bytes first: writing them back must not move the time again.
  await file.utimes(sealedAtSeconds, sealedAtSeconds);
  await file.sync();
}

/** Of a file that was written: as large as a volume is, writable, durable. */
export async function growFile(path: string, sizeBytes: number): Promise<void> {
  await using file = await open(path, 'r+');
  await file.truncate(sizeBytes);
  await file.chmod(0o600);
  await file.sync();
}
