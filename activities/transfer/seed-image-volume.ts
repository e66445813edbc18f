import { open } from 'node:fs/promises';
import { MiB, roundUpTo, SECTOR_BYTES } from '../../workflows/contract/bytes';
import { isFailure } from '../../workflows/contract/failures';
import type { Image } from '../../workflows/contract/image';
import type {
  CacheSeed,
  NotCached,
  PopulateInput,
  ReservedEntry,
  StreamedImageVolume,
} from '../../workflows/contract/population';
import { findCachedImageOf } from '../../db/imports';
import type { SnapshotReader, StoredInVolume, VolumeBackend, WriteTarget } from '../backends/backend';
import type { HostDependencies } from '../dependencies';
import { parseExpectedBytes } from '../image/expected-bytes';
import { firstBytesOf, rawFileOf, readFileParts, type SparseReader } from '../image/file-parts';
import { createFileWriter, type GuestWriter } from '../image/guest-writer';
import { createHashedBody } from '../image/hashed-body';
import { dataRuns } from '../image/sparse-write';
import { backendHeld } from '../kit/backend-held';
import { createHeartbeatReporter, keepingAlive } from '../kit/heartbeat-reporter';
import { reserveInspected } from '../kit/reserve-inspected';
import { isGuestBytes } from '../kit/cache-key';
import { isUploadOf } from '../kit/uploaded-image';
import type { ProgressReporter } from '../progress';
import { attemptName, checkFreeSpace, findSealed, removeEarlierAttempts, seal } from './attempt';
import { checkWritten, inspectGuestBytes } from './inspect-image';
import { getPinnedImage } from './scratch-image';

export interface SeedImageVolumeRequest {
  input: PopulateInput & { seed: CacheSeed };
  entry: ReservedEntry;
}

/**
 * Makes the image-volume a copy of a volume's snapshot, which is told to have the image's bytes: no byte is downloaded, and it needs neither snapshot nor
 * volume then. Where the image's file is what the guest sees, the copy is made the parent only if it has the hash of the record; of another format only
 * what was uploaded to this very image, or what Cinder has cached of it and was taken over: that becomes a clone, by which no byte moves. By the same rules as bytes that come over the network. Heartbeats. Idempotent: a sealed image-volume is described.
 * Undo: `removeImageVolume`.
 * @returns `unsuitable`, and why in `transfer`, where the bytes must be downloaded.
 * @throws ImageNotFound, ImageNotActive, ImageChanged, ImageRefused, NoSpace (final); ImageServiceUnavailable, BackendUnavailable (retried).
 */
export function createSeedImageVolume(deps: HostDependencies) {
  return async function seedImageVolume({
    input,
    entry,
  }: SeedImageVolumeRequest): Promise<StreamedImageVolume | NotCached> {
    const backend = backendHeld(deps, input.backend);
    const first = { stage: 'cloning', summary: `copying the snapshot of volume ${input.seed.volumeId}` } as const;
    return await keepingAlive(createHeartbeatReporter(), first, async (reporter) => {
      const startedAtMs = performance.now();
      const sealed = await findSealed(backend, entry);
      if (sealed !== undefined) return { kind: 'streamed', ...sealed, bytesDownloaded: 0, downloadMs: 0, convertMs: 0 };
      await removeEarlierAttempts(backend, entry);
      const { image } = await getPinnedImage(deps, input);
      if (input.cacheKey.signature !== undefined) return mustBeDownloaded('its signature is to be verified');
      const disk = await findSnapshot(backend, input.seed);
      if (disk === undefined) return mustBeDownloaded('the snapshot is gone, or cannot be read');
      try {
        const copied = await copyAndSeal(deps, { input, entry, image, backend, disk }, reporter);
        if (!('virtualBytes' in copied)) return copied;
        const convertMs = Math.round(performance.now() - startedAtMs);
        const transfer = `it was copied from volume ${input.seed.volumeId}, and no byte was downloaded`;
        return { kind: 'streamed', ...copied, bytesDownloaded: 0, downloadMs: 0, convertMs, transfer };
      } finally {
        await disk.close();
      }
    });
  };
}

function mustBeDownloaded(reason: string): StreamedImageVolume {
  return { kind: 'unsuitable', transfer: `it was downloaded, not copied: ${reason}` };
}

async function findSnapshot(backend: VolumeBackend, seed: CacheSeed): Promise<SnapshotReader | undefined> {
  try {
    return await backend.openSnapshotReader?.(seed);
  } catch (error) {
    if (isFailure(error, 'SnapshotNotFound')) return undefined;
    throw error;
  }
}

interface Copying extends SeedImageVolumeRequest {
  image: Image;
  backend: VolumeBackend;
  disk: SparseReader;
}

async function copyAndSeal(
  deps: HostDependencies,
  { input, entry, image, backend, disk }: Copying,
  reporter: ProgressReporter,
): Promise<{ virtualBytes: number; realBytes: number } | StreamedImageVolume | NotCached> {
  const isFlat = isGuestBytes(input.cacheKey);
  const isTold = (await findCachedImageOf(deps.database, input.seed.volumeId)) === input.imageId;
  if (!isFlat && !isTold && !isUploadOf(image, input.seed))
    return mustBeDownloaded('it was not uploaded from that volume');
  const expected = isFlat ? parseExpectedBytes(image) : undefined;
  // Cinder's volume has whole GiB, whatever the image has.
  const told = isTold && image.virtualSizeBytes !== null ? image.virtualSizeBytes : disk.sizeBytes;
  const sizeBytes = expected?.sizeBytes ?? told;
  if (sizeBytes > disk.sizeBytes) return mustBeDownloaded('the volume is smaller than the image');
  const bytes = firstBytesOf(disk, sizeBytes);
  const virtualBytes = roundUpTo(sizeBytes, SECTOR_BYTES);
  const { imageId } = input;
  const notCached = await reserveInspected(deps, { input, entry, virtualBytes }, (progress) =>
    reporter.report(progress),
  );
  if (notCached !== undefined) return notCached;
  await checkFreeSpace(backend, 0);
  const object = { kind: 'image-volume', name: entry.imageVolume } as const;
  if (isTold && (await hasDataFrom(disk, sizeBytes, reporter)))
    return mustBeDownloaded(`the volume has data behind the image's ${sizeBytes} bytes`);
  const attempt = attemptName();
  const isCloned = isTold && backend.cloneStoredVolume !== undefined;
  const target = isCloned
    ? await cloneSnapshot(backend, { ...input.seed, name: entry.imageVolume, attempt, sizeBytes })
    : await backend.ensureWriteTarget({ ...object, attempt, virtualBytes });
  try {
    const hash = await copy(bytes, {
      writer: isCloned ? undefined : await openWriter(backend, { ...object, target }),
      algorithm: expected?.algorithm,
      reporter,
    });
    if (expected !== undefined && hash !== expected.hash) {
      await backend.ensureAttemptAbsent({ ...object, attempt: target.attempt });
      return mustBeDownloaded('the volume has other bytes than the image');
    }
    const diskFormat = isFlat ? input.cacheKey.diskFormat : 'raw';
    await inspectGuestBytes(deps, { imageId, diskFormat, sizeBytes, bytesVerified: isFlat }, (offset, lengthBytes) =>
      bytes.read(offset, lengthBytes),
    );
    await checkWritten(deps, imageId, { backend, target, ...object });
    reporter.report({ stage: 'sealing', summary: `sealing image-volume ${entry.imageVolume}` });
    return await seal(deps, backend, { source: input, entry, target, virtualBytes });
  } catch (error) {
    await backend.ensureAttemptAbsent({ ...object, attempt: target.attempt });
    throw error;
  }
}

async function cloneSnapshot(
  backend: VolumeBackend,
  { volumeId, snapshotId, ...image }: CacheSeed & Omit<StoredInVolume, 'snapshot'>,
): Promise<WriteTarget> {
  if (backend.cloneStoredVolume === undefined) throw new Error(`backend ${backend.name} clones no volumes`);
  return await backend.cloneStoredVolume({ ...image, snapshot: { snapshotId, volumeId } });
}

/** Whether a disk reads as anything but zeros from a byte on. */
async function hasDataFrom(disk: SparseReader, from: number, { signal }: ProgressReporter): Promise<boolean> {
  for await (const { offset, lengthBytes } of disk.extents())
    for (let at = Math.max(offset, from); at < offset + lengthBytes; at += READ_BYTES) {
      signal.throwIfAborted();
      const bytes = await disk.read(at, Math.min(READ_BYTES, offset + lengthBytes - at));
      if (dataRuns(bytes).length > 0) return true;
    }
  return false;
}

async function openWriter(
  backend: VolumeBackend,
  { target, ...object }: { kind: 'image-volume'; name: string; target: WriteTarget },
): Promise<GuestWriter> {
  if (target.path !== undefined) return createFileWriter(await open(target.path, 'r+'));
  if (backend.openWriter === undefined) throw new Error(`backend ${backend.name} has no writer`);
  return await backend.openWriter({ ...object, attempt: target.attempt });
}

const READ_BYTES = 4 * MiB;
/** Progress is told once in so many bytes. */
const TELL_BYTES = 64 * MiB;

/** Reads all of it, and writes it where there is a writer. @returns the hash in hex, where one is asked for. */
async function copy(
  disk: SparseReader,
  {
    writer,
    algorithm,
    reporter,
  }: { writer: GuestWriter | undefined; algorithm: string | undefined; reporter: ProgressReporter },
): Promise<string | undefined> {
  if (writer === undefined && algorithm === undefined) return undefined;
  const hashed = algorithm === undefined ? undefined : createHashedBody(algorithm);
  const bytesTotal = disk.sizeBytes;
  let bytesDone = 0;
  let told = 0;
  try {
    const blocks = readFileParts(rawFileOf(disk), disk);
    for await (const block of hashed?.pass(blocks, () => undefined) ?? blocks) {
      reporter.signal.throwIfAborted();
      await writer?.write(block, bytesDone);
      bytesDone += block.length;
      if (bytesDone - told < TELL_BYTES) continue;
      told = bytesDone;
      reporter.report({ stage: 'cloning', summary: 'copying the snapshot into the cache', bytesDone, bytesTotal });
    }
    await writer?.flush();
    return await hashed?.digest();
  } finally {
    await hashed?.close();
    await writer?.close();
  }
}
