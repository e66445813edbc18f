import { constants } from 'node:fs';
import { open, stat, truncate, type FileHandle } from 'node:fs/promises';
import { findEntry } from '../../db/entries/entries';
import { MiB, roundUpTo, SECTOR_BYTES } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import type { PopulateInput, ReservedEntry, StreamedImageVolume } from '../../workflows/contract/population';
import { isDiskFull } from '../../lib/errno';
import type { VolumeBackend, WriteTarget } from '../backends/backend';
import type { HostDependencies } from '../dependencies';
import type { ImageService } from '../glance/image-service';
import { downloadImage, type DownloadedImage, type DownloadImageRequest } from '../image/download';
import { createHeadInspection } from '../image/head-inspection';
import { createStreams, type StreamWork } from '../image/streams';
import { checkSigned } from '../image/verify-signature';
import { backendHeld } from '../kit/backend-held';
import { contentHashOf } from '../kit/cache-key';
import { createHeartbeatReporter, keepingAlive, waitingForTurn } from '../kit/heartbeat-reporter';
import type { ProgressReporter } from '../progress';
import { cloneImageVolume } from './clone-image-volume';
import { attemptName, checkFreeSpace, earlierAttemptNames, findSealed, removeEarlierAttempts, seal } from './attempt';
import { checkWritten, inspectImageFile } from './inspect-image';
import { getPinnedImage, type PinnedImage } from './scratch-image';

export interface StreamImageVolumeRequest {
  input: PopulateInput;
  entry: ReservedEntry;
}

const READ_BYTES = MiB;

/**
 * Clones a raw image inside the image service's store where the backend can, `cloneImageVolume` says when. Else it writes
 * a raw image or an ISO, whose file is what the guest sees, straight into the new image-volume while it
 * downloads: sparse, hashed, its first bytes inspected as they come and the whole when it is there; then seals it. No
 * scratch is used.
 *
 * Every attempt writes to a name of its own. It takes over by a rename what an earlier attempt has written, since that
 * one's writer is known to be gone: all attempts of one activity run on one host's queue, one worker of a host holds
 * its scratch, and in this process the older attempt is ended first. Bytes that are taken over are read and hashed
 * again. Idempotent: a sealed image-volume is described. Undo: `removeImageVolume`.
 * @throws ImageNotFound, ImageNotActive, ImageChanged, ImageRefused, ImageUnsupported, TransferCorrupt, NoSpace
 * (final); ImageServiceUnavailable, BackendUnavailable (retried).
 */
export function createStreamImageVolume(deps: HostDependencies) {
  const streams = createStreams();
  return async function streamImageVolume({ input, entry }: StreamImageVolumeRequest): Promise<StreamedImageVolume> {
    const { imageId, backend: backendName, cacheKey } = input;
    const backend = backendHeld(deps, backendName);
    const first = { stage: 'waiting', summary: `asking the image service for image ${imageId}` } as const;
    return await keepingAlive(createHeartbeatReporter(), first, async (reporter) => {
      const sealed = await findStreamed(backend, entry);
      if (sealed !== undefined) return sealed;
      const { image, signature } = await getPinnedImage(deps, input);
      createHeadInspection(image, deps.policy);
      const stream = { imageVolume: entry.imageVolume, contentHash: contentHashOf(cacheKey) };
      return await streams.run(stream, reporter, async (context) => {
        // The older attempt that was ended for this one may have sealed it first.
        const sealedMeanwhile = await findStreamed(backend, entry);
        if (sealedMeanwhile !== undefined) return sealedMeanwhile;
        const run = () => writeAttempt(deps, { input, entry, image, signature, backend }, context);
        const onWait = (ahead: number) => context.reporter.report(waitingForTurn(ahead, 'download'));
        return await deps.downloads.run(run, { onWait, signal: context.reporter.signal });
      });
    });
  };
}

/** @returns what an earlier attempt has sealed. Leftovers of the others are removed: nobody goes on with them. */
async function findStreamed(backend: VolumeBackend, entry: ReservedEntry): Promise<StreamedImageVolume | undefined> {
  const sealed = await findSealed(backend, entry);
  if (sealed === undefined) return undefined;
  await removeEarlierAttempts(backend, entry);
  return { kind: 'streamed', ...sealed, bytesDownloaded: 0, downloadMs: 0, convertMs: 0 };
}

interface Attempt extends StreamImageVolumeRequest, PinnedImage {
  backend: VolumeBackend;
}

async function writeAttempt(
  deps: HostDependencies,
  attempt: Attempt,
  context: Parameters<StreamWork<unknown>>[0],
): Promise<StreamedImageVolume> {
  const { backend, entry } = attempt;
  const cloned = await cloneImageVolume(deps, attempt, context.reporter);
  if (cloned.kind === 'streamed' || backend.openWriter !== undefined) return cloned;
  const target = await ensureTarget(attempt);
  const undo = () =>
    backend.ensureAttemptAbsent({ kind: 'image-volume', name: entry.imageVolume, attempt: target.attempt });
  const { path } = target;
  if (path === undefined) {
    await undo();
    return cloned;
  }
  try {
    context.writesTo(path);
    return await fillAndSeal(deps, { ...attempt, target, path }, context);
  } catch (error) {
    // The next attempt goes on with what a passing failure leaves; the flight's undo removes it with the image-volume.
    // Where another attempt has sealed it meanwhile, or the flight is undone already, nobody goes on.
    const failure = await failureOf(error, attempt);
    const isOver = failure instanceof Failure && failure.isFinal;
    if (isOver || (await hasEnded(deps, attempt))) await undo();
    throw failure;
  }
}

/** Whether the image-volume is sealed, or its reservation given up. */
async function hasEnded(deps: HostDependencies, { backend, entry }: Attempt): Promise<boolean> {
  if (await findSealed(backend, entry)) return true;
  try {
    return (await findEntry(deps.database, { entryId: entry.id }))?.state !== 'populating';
  } catch {
    // The caller hears why the attempt failed, not this; the reconciler removes what is left.
    return false;
  }
}

/** @returns a target that is as long as the bytes that it holds. */
async function ensureTarget({ image, backend, entry }: Attempt): Promise<WriteTarget> {
  const sizeBytes = image.sizeBytes ?? 0;
  const request = {
    kind: 'image-volume',
    name: entry.imageVolume,
    virtualBytes: roundUpTo(sizeBytes, SECTOR_BYTES),
  } as const;
  for (const from of earlierAttemptNames()) {
    const target = await backend.takeOverAttempt?.({ ...request, from, to: attemptName() });
    if (target === undefined) continue;
    // An attempt that died while it sealed has made the file a whole number of sectors.
    if (target.path !== undefined && (await stat(target.path)).size > sizeBytes) await truncate(target.path, sizeBytes);
    return target;
  }
  await checkFreeSpace(backend, sizeBytes);
  const target = await backend.ensureWriteTarget({ ...request, attempt: attemptName() });
  if (target.path !== undefined) await truncate(target.path, 0);
  return target;
}

async function fillAndSeal(
  deps: HostDependencies,
  { input, entry, image, signature, backend, target, path }: Attempt & { target: WriteTarget; path: string },
  { reporter, content }: Parameters<StreamWork<unknown>>[0],
): Promise<StreamedImageVolume> {
  const startedAtMs = performance.now();
  const { imageId, cacheKey } = input;
  const scratchFile = content === undefined ? await findScratchFile(deps, contentHashOf(cacheKey)) : undefined;
  const local = content ?? scratchFile;
  let bytesDownloaded;
  try {
    bytesDownloaded = await fill(deps, { image, signature, path, local }, reporter);
  } finally {
    await scratchFile?.close();
  }
  const downloadedAtMs = performance.now();
  reporter.report({ stage: 'inspecting', summary: `inspecting image ${imageId}` });
  const virtualBytes = await inspectImageFile(deps, { imageId, cacheKey, path });
  await truncate(path, virtualBytes);
  await checkWritten(deps, imageId, { backend, target, kind: 'image-volume', name: entry.imageVolume });
  reporter.report({ stage: 'sealing', summary: `sealing image-volume ${entry.imageVolume}` });
  const sealed = await seal(deps, backend, { source: input, entry, target, virtualBytes });
  deps.metrics.populationStage({ backend: input.backend, stage: 'stream' }, (performance.now() - startedAtMs) / 1000);
  return {
    kind: 'streamed',
    ...sealed,
    bytesDownloaded,
    downloadMs: Math.round(downloadedAtMs - startedAtMs),
    convertMs: Math.round(performance.now() - downloadedAtMs),
  };
}

/**
 * From this host's own copy where that is sound, else from the image service. @returns what came over the network.
 * @throws as `downloadImage`; ImageRefused when the bytes do not have the signature that they must have (final).
 */
async function fill(
  deps: HostDependencies,
  { image, signature, path, local }: PinnedImage & { path: string; local: FileHandle | undefined },
  reporter: ProgressReporter,
): Promise<number> {
  const { images, policy } = deps;
  const request = { image, path, reporter, policy, signature: signature?.check, writeBack: true };
  const copied = local && (await copy({ ...request, images: readingFrom(local, images) }));
  const { bytesDownloaded, isSigned } = copied ?? (await downloadImage({ ...request, images }));
  if (copied === undefined) deps.metrics.downloaded(bytesDownloaded);
  if (isSigned !== undefined) checkSigned(image, isSigned);
  return copied === undefined ? bytesDownloaded : 0;
}

/** @returns undefined when a damaged copy may be the reason why it failed; nothing is left of it then. */
async function copy(request: DownloadImageRequest): Promise<DownloadedImage | undefined> {
  try {
    return await downloadImage(request);
  } catch (error) {
    if (!isAboutBytes(error)) throw error;
    await truncate(request.path, 0);
    return undefined;
  }
}

/** @returns whether a damaged copy may be the reason. */
function isAboutBytes(error: unknown): boolean {
  return error instanceof Failure && (error.type === 'TransferCorrupt' || error.type === 'ImageRefused');
}

async function findScratchFile(deps: HostDependencies, contentHash: string): Promise<FileHandle | undefined> {
  const found = await deps.scratch.find(contentHash);
  return found && (await open(found.path, constants.O_RDONLY).catch(() => undefined));
}

/** The image service, but for the bytes: those are on this host already. They are hashed all the same. */
function readingFrom(file: FileHandle, images: ImageService): ImageService {
  return {
    ...images,
    downloadInto: undefined,
    openDownload: ({ offsetBytes }) =>
      Promise.resolve({
        startsAtBytes: offsetBytes,
        body: file.createReadStream({ start: offsetBytes, highWaterMark: READ_BYTES, autoClose: false }),
      }),
  };
}

async function failureOf(error: unknown, { image, backend }: Attempt): Promise<unknown> {
  if (!isDiskFull(error)) return error;
  const { freeBytes } = await backend.space();
  return new Failure(
    'NoSpace',
    { backend: backend.name, neededBytes: image.sizeBytes ?? 0, freeBytes },
    { cause: error },
  );
}
