import { stat } from 'node:fs/promises';
import { beginReplacing } from '../../db/reimages';
import { findVolume } from '../../db/volumes';
import { formatBytes } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import type { VolumeId } from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import type {
  Admission,
  FreedEntry,
  NotCached,
  PopulateInput,
  ReservedEntry,
  Story,
  WrittenImageVolume,
} from '../../workflows/contract/population';
import type { Reimage } from '../../workflows/contract/volume-changes';
import type { CreateVolumeResult } from '../../workflows/contract/volume';
import type { VolumeBackend, WriteTarget } from '../backends/backend';
import type { HostDependencies } from '../dependencies';
import { refusalFailure } from '../image/inspect';
import { convertToRaw } from '../image/qemu-img';
import { isDataUnreadable, unreadableData } from '../image/unreadable-data';
import { backendHeld } from '../kit/backend-held';
import { contentHashOf } from '../kit/cache-key';
import { createHeartbeatReporter, keepingAlive, waitingForTurn } from '../kit/heartbeat-reporter';
import { giveBytes, reimagedOf, type Reimaged } from '../kit/reimage-bytes';
import { reserveInspected } from '../kit/reserve-inspected';
import { releaseScratchOf } from '../kit/scratch-use';
import { complete, findCompleted, markerOf, resultOf, takeSize } from '../kit/created-volume';
import type { ProgressReporter } from '../progress';
import { attemptName, checkFreeSpace, findSealed, seal } from './attempt';
import { checkToolAgrees, checkWritten, findSource, inspectImageFile, type GuestBytes } from './inspect-image';
import { getScratchPath, type ScratchSource } from './scratch-image';
import { whileThereIsSpace } from './space-watch';

export interface WriteImageVolumeRequest {
  input: PopulateInput;
  entry: ReservedEntry;
  /** The user of the scratch file, which is released when the image-volume is sealed. */
  user: string;
}

/**
 * Writes the downloaded image into the new image-volume and seals it; see `writeGuestBytes`. Idempotent: a sealed
 * image-volume is described. Undo: `removeImageVolume`.
 * @throws ImageRefused, ImageUnsupported, NoSpace (final); ToolFailed, BackendUnavailable (retried).
 */
export function createWriteImageVolume(deps: HostDependencies) {
  return async function writeImageVolume(request: WriteImageVolumeRequest): Promise<WrittenImageVolume | NotCached> {
    const { input, entry, user } = request;
    const startedAtMs = performance.now();
    const convertMs = () => Math.round(performance.now() - startedAtMs);
    const backend = backendHeld(deps, input.backend);
    return await writeGuestBytes<WrittenImageVolume | NotCached>(deps, backend, {
      source: input,
      user,
      object: { kind: 'image-volume', name: entry.imageVolume },
      findPublished: async () => {
        const sealed = await findSealed(backend, entry);
        return sealed && { ...sealed, convertMs: convertMs() };
      },
      prepare: (virtualBytes, reporter) =>
        reserveInspected(deps, { input, entry, virtualBytes }, (progress) => reporter.report(progress)),
      publish: async (target, reporter) => {
        const { virtualBytes } = target;
        reporter.report({ stage: 'sealing', summary: `sealing image-volume ${entry.imageVolume}` });
        const sealed = await seal(deps, backend, { source: input, entry, target, virtualBytes });
        return { ...sealed, convertMs: convertMs() };
      },
    });
  };
}

export interface WriteVolumeRequest {
  volumeId: VolumeId;
  admission: Admission;
  story: Story;
  /** The user of the scratch file, which is released when the volume is available. */
  user: string;
}

/**
 * Bypass: writes the downloaded image straight into the user's volume and completes it; see `writeGuestBytes`.
 * Idempotent. Undo: `removeVolume`.
 * @throws ImageRefused, ImageUnsupported, InvalidRequest, QuotaExceeded, NoSpace (final); ToolFailed, BackendUnavailable (retried).
 */
export function createWriteVolume(deps: HostDependencies) {
  return async function writeVolume(request: WriteVolumeRequest): Promise<CreateVolumeResult> {
    const { volumeId, admission, story, user } = request;
    const stepStartedAtMs = performance.now();
    const backend = backendHeld(deps, admission.backend);
    return await writeGuestBytes<CreateVolumeResult>(deps, backend, {
      source: admission,
      user,
      object: { kind: 'volume', name: volumeId },
      findPublished: async () => {
        const completed = await findCompleted(deps, volumeId);
        return completed && resultOf(completed, story);
      },
      prepare: async (virtualBytes) => {
        await takeSize(deps, request, virtualBytes);
        return undefined;
      },
      publish: async (target) => {
        const marker = markerOf(deps, request, target.virtualBytes);
        const connection = await backend.publishVolume(target, marker);
        story.timingsMs.convert = Math.round(performance.now() - stepStartedAtMs);
        const { sizeBytes } = marker;
        return (await complete(deps, { volumeId, story, sizeBytes, connection, backend, stepStartedAtMs })).result;
      },
    });
  };
}

export interface WriteReimageRequest {
  reimage: Reimage;
  cacheKey: CacheKey;
  /** The user of the scratch file, which is released when the volume has its new bytes. */
  user: string;
}

/**
 * Writes the downloaded image beside the volume and gives it these bytes in place of its own; see `writeGuestBytes` and `giveBytes`. Undo: `settleReimage`.
 * @throws ImageRefused, ImageUnsupported and as `giveBytes`.
 */
export function createWriteReimage(deps: HostDependencies) {
  return async function writeReimage(
    request: WriteReimageRequest,
  ): Promise<{ volume: Reimaged; freedEntries: FreedEntry[] }> {
    const { reimage, cacheKey, user } = request;
    const { volumeId, contentId, imageId } = reimage;
    const backend = backendHeld(deps, reimage.backend);
    return await writeGuestBytes<{ volume: Reimaged; freedEntries: FreedEntry[] }>(deps, backend, {
      source: { backend: backend.name, imageId, cacheKey },
      user,
      object: { kind: 'volume', name: volumeId },
      findPublished: async () => {
        const volume = await findVolume(deps.database, { volumeId, scope: 'all projects' });
        return volume?.state === 'available' && volume.contentId === contentId
          ? { volume: reimagedOf(volume), freedEntries: [] }
          : undefined;
      },
      prepare: async () => {
        if (!(await beginReplacing(deps.database, reimage))) throw new Failure('CreateCancelled', { volumeId });
        return undefined;
      },
      publish: async (target, reporter) => {
        const bytes = { target, virtualBytes: target.virtualBytes };
        const { volume, freed } = await giveBytes(deps, { backend, reimage, cacheKey, bytes }, reporter);
        return { volume, freedEntries: freed };
      },
    });
  };
}

/**
 * An object that gets an image's guest bytes. A volume and an image-volume differ in what they are before and after
 * these are written.
 */
interface Writing<Result> {
  source: ScratchSource;
  /** The user of the scratch file, which is released when the object is published. */
  user: string;
  object: { kind: 'volume' | 'image-volume'; name: string };
  /** @returns what an earlier try, or the run before a reset, has published before its answer was lost. */
  findPublished: () => Promise<Result | undefined>;
  /** Before the first byte is written. @returns the answer where none is to be. */
  prepare: (virtualBytes: number, reporter: ProgressReporter) => Promise<Result | undefined> | undefined;
  publish: (target: WriteTarget, reporter: ProgressReporter) => Promise<Result>;
}

/**
 * Inspects the image in the scratch, converts it into a target of this attempt's own, inspects what was written and
 * publishes that; then the scratch file is released. A target that was not published is removed.
 */
async function writeGuestBytes<Result>(
  deps: HostDependencies,
  backend: VolumeBackend,
  { source, user, object, findPublished, prepare, publish }: Writing<Result>,
): Promise<Result> {
  const startedAtMs = performance.now();
  const { imageId, cacheKey } = source;
  const release = () => releaseScratchOf(deps, { contentHash: contentHashOf(cacheKey), user });
  const first = { stage: 'inspecting', summary: `inspecting image ${imageId}` } as const;
  return await keepingAlive(createHeartbeatReporter(), first, async (reporter) => {
    const published = await findPublished();
    if (published !== undefined) {
      await release();
      return published;
    }
    const path = await getScratchPath(deps, { source, user }, reporter);
    const image = { imageId, cacheKey, path };
    const virtualBytes = await inspectImageFile(deps, image);
    const unwritten = await prepare(virtualBytes, reporter);
    if (unwritten !== undefined) return unwritten;
    const write = async (): Promise<Result> => {
      await checkFreeSpace(backend, (await stat(path)).size);
      const target = await backend.ensureWriteTarget({ ...object, attempt: attemptName(), virtualBytes });
      try {
        await convert(deps, { image, target, backend }, reporter);
        await checkWritten(deps, imageId, { backend, target, ...object });
        return await publish(target, reporter);
      } catch (error) {
        await backend.ensureAttemptAbsent({ ...object, attempt: target.attempt });
        throw error;
      }
    };
    const onWait = (ahead: number) => reporter.report(waitingForTurn(ahead, 'conversion'));
    const written = await deps.conversions.run(write, { onWait, signal: reporter.signal });
    await release();
    const seconds = (performance.now() - startedAtMs) / 1000;
    deps.metrics.populationStage({ backend: source.backend, stage: 'convert' }, seconds);
    return written;
  });
}

/**
 * Converts an inspected image into a raw target and waits until the writer is reaped. The target is not visible yet.
 * @throws ImageRefused (final; of data that cannot be decompressed too), NoSpace (final), ToolFailed (retried).
 */
async function convert(
  deps: HostDependencies,
  { image, target, backend }: { image: GuestBytes; target: WriteTarget; backend: VolumeBackend },
  reporter: ProgressReporter,
): Promise<void> {
  const { virtualBytes } = target;
  const source = await findSource(image);
  await checkToolAgrees(deps, image, virtualBytes);
  const total = formatBytes(virtualBytes);
  const report = (fraction: number, summary: string) => {
    const bytesDone = Math.round(fraction * virtualBytes);
    reporter.report({ stage: 'converting', summary, bytesDone, bytesTotal: virtualBytes });
  };
  report(0, `writing ${total} of guest bytes to ${backend.name}`);
  const onProgress = (fraction: number) =>
    report(fraction, `writing guest bytes to ${backend.name}: ${Math.floor(fraction * 100)} % of ${total}`);
  try {
    await whileThereIsSpace({ backend, neededBytes: virtualBytes, signal: reporter.signal }, (signal) =>
      convertToRaw({ source, target, backend: backend.name, signal, guard: deps.toolGuard, onProgress }),
    );
  } catch (error) {
    if (!(await isDataUnreadable(error, { path: image.path, signal: reporter.signal }))) throw error;
    throw refusalFailure(unreadableData(error), image.imageId);
  }
}
