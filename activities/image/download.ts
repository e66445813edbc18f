import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { MiB } from '../../workflows/contract/bytes';
import { Failure, isFailure } from '../../workflows/contract/failures';
import type { Image } from '../../workflows/contract/image';
import type { ImageService } from '../glance/image-service';
import type { ProgressReporter } from '../progress';
import { checkUnchanged, parseExpectedBytes, type ExpectedBytes } from './expected-bytes';
import { createHashedFile, type ByteWatcher, type HashedFile } from './hashed-file';
import { createHeadInspection, type HeadInspection } from './head-inspection';
import type { SignatureCheck } from './image-signature';
import type { ImagePolicy } from './policy';
import { createTransferProgress, type TransferProgress } from './transfer-progress';
import { pause } from '../../lib/abort';

export interface DownloadLimits {
  /** Failures in a row, without `progressBytes` between them, after which the caller hears of it. */
  attempts: number;
  progressBytes: number;
  /** Before the second attempt in a row; doubled for each further one. */
  backoffMs: number;
}

const defaultLimits: DownloadLimits = { attempts: 5, progressBytes: 4 * MiB, backoffMs: 200 };

/** Downloads of an image whose bytes turn out wrong: the first and one clean restart. Leftovers of an earlier call on disk count as none. */
const DOWNLOADS = 2;

export interface DownloadImageRequest {
  images: ImageService;
  /** The record that pins size and hash. */
  image: Image;
  /** The file to fill; the bytes that it holds already are taken as the image's start. */
  path: string;
  reporter: ProgressReporter;
  /** Rules for the image: one that its first bytes condemn is not downloaded further. */
  policy?: ImagePolicy;
  /** Verified in the same pass as the hash. */
  signature?: SignatureCheck;
  /** Whether the bytes go to the disk while more come, for a file that is fsynced soon after. */
  writeBack?: boolean;
  /** Begins to watch the bytes, which are those of the whole file: once, and again at a clean restart. */
  watch?: () => Promise<ByteWatcher>;
  limits?: Partial<DownloadLimits>;
}

export interface DownloadedImage {
  /** The image's size. */
  bytes: number;
  /** Bytes that came over the network in this call. */
  bytesDownloaded: number;
  seconds: number;
  /** Whether the bytes, which have the record's hash, have the signature too; absent where none was asked for. */
  isSigned?: boolean;
}

/**
 * Fills `path` with the image's bytes, from the byte that is on disk, verified by the record's hash, sparse, not fsynced. Repeatable: a complete file is
 * only verified again. The next call goes on from the bytes that a cut, an abort or a kill leaves on disk. Memory is bounded whatever the image's size.
 * First bytes that the policy refuses may be damage, on the way or on the disk, as long as their hash is not known: the bytes on disk are thrown away,
 * and the refusal is told when the image service sends it twice. It says nothing of its bytes' hash then, so it is not remembered.
 * @throws ImageNotFound, ImageNotActive, ImageChanged, ImageRefused, ImageUnsupported, TransferCorrupt (after one clean restart): final;
 * ImageServiceUnavailable after `limits.attempts` in a row (retried); the reporter's abort as its reason; the disk's errors (ENOSPC) as they are.
 */
export async function downloadImage({
  images,
  image,
  path,
  reporter,
  policy,
  signature,
  writeBack = false,
  watch,
  limits,
}: DownloadImageRequest): Promise<DownloadedImage> {
  const startedMs = performance.now();
  const expected = parseExpectedBytes(image);
  const handle = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  const progress = createTransferProgress(reporter, expected.sizeBytes);
  try {
    const transfer = {
      images,
      image,
      expected,
      handle,
      reporter,
      progress,
      policy,
      signature,
      writeBack,
      watch,
      limits: { ...defaultLimits, ...limits },
      bytesDownloaded: 0,
    };
    const isSigned = await fillVerified(transfer);
    return {
      bytes: expected.sizeBytes,
      bytesDownloaded: transfer.bytesDownloaded,
      seconds: (performance.now() - startedMs) / 1000,
      ...(isSigned !== undefined && { isSigned }),
    };
  } finally {
    progress.end();
    await handle.close();
  }
}

interface Transfer {
  images: ImageService;
  image: Image;
  expected: ExpectedBytes;
  handle: FileHandle;
  reporter: ProgressReporter;
  progress: TransferProgress;
  policy: ImagePolicy | undefined;
  signature: SignatureCheck | undefined;
  writeBack: boolean;
  watch: DownloadImageRequest['watch'];
  limits: DownloadLimits;
  bytesDownloaded: number;
}

/** @returns whether the bytes have the signature that was asked for. */
async function fillVerified(transfer: Transfer): Promise<boolean | undefined> {
  const { handle, image, expected } = transfer;
  const faults: Fault[] = [];
  while (faults.length < DOWNLOADS) {
    const { takenOver, fault, isSigned } = await fillOnce(transfer);
    if (fault === undefined) return isSigned;
    if (!takenOver) faults.push(fault);
    await handle.truncate(0);
  }
  const [first, second] = faults;
  if (first instanceof Failure && second instanceof Failure && isDeepStrictEqual(first.details, second.details))
    throw second;
  const hash = faults.find((fault) => typeof fault === 'string');
  const found = hash ?? 'something else each time';
  throw new Failure('TransferCorrupt', { imageId: image.id, found, allowed: expected.hash });
}

/** The hash of all bytes, or what the first of them are refused for. */
type Fault = string | Failure;

/** @returns what is wrong with the bytes, undefined when they are the image's; and whether some of them were on disk already. */
async function fillOnce(
  transfer: Transfer,
): Promise<{ takenOver: boolean; fault: Fault | undefined; isSigned?: boolean }> {
  const { expected, handle, image, policy, signature, writeBack, watch } = transfer;
  const head = policy && createHeadInspection(image, policy);
  const file = createHashedFile(handle, {
    algorithm: expected.algorithm,
    signature,
    watcher: await watch?.(),
    writeBack,
  });
  let takenOver = false;
  try {
    takenOver = await takeOverDisk(file, transfer);
    await head?.seeFile(handle, file.bytes);
    await fetchRest(file, head, transfer);
    const hash = await file.digest();
    if (hash !== expected.hash) return { takenOver, fault: hash };
    return { takenOver, fault: undefined, isSigned: await file.isSigned() };
  } catch (error) {
    if (isFailure(error, 'ImageRefused')) return { takenOver, fault: error };
    throw error;
  } finally {
    await file.close();
  }
}

/** Only the bytes on disk count, not what anybody said of them: they are read and hashed again. @returns whether there was something. */
async function takeOverDisk(
  file: HashedFile,
  { handle, expected, images, image, progress, reporter }: Transfer,
): Promise<boolean> {
  const { size } = await handle.stat();
  if (size > expected.sizeBytes) await handle.truncate(0);
  if (size === 0 || size > expected.sizeBytes) return false;
  checkUnchanged(await images.getImage(image.id, reporter.signal), expected);
  await file.takeOver(size, (bytes) => {
    reporter.signal.throwIfAborted();
    progress.verifying(bytes);
  });
  return true;
}

async function fetchRest(file: HashedFile, head: HeadInspection | undefined, transfer: Transfer): Promise<void> {
  const { expected, images, image, limits, reporter, progress } = transfer;
  let failures = 0;
  while (file.bytes < expected.sizeBytes) {
    const before = file.bytes;
    const failure = await findFailure(() => fetchPart(file, head, transfer));
    if (failure === undefined) continue;
    failures = file.bytes - before >= limits.progressBytes ? 1 : failures + 1;
    if (failures >= limits.attempts) throw failure;
    progress.askingAgain(file.bytes, `${failure.details.cause}, failure ${failures} of at most ${limits.attempts}`);
    await pause(limits.backoffMs * 2 ** (failures - 1), reporter.signal);
    // Nothing in HTTP says that the data changed between two ranges: the record does.
    const again = await findFailure(async () =>
      checkUnchanged(await images.getImage(image.id, reporter.signal), expected),
    );
    if (again !== undefined) failures += 1;
    if (failures >= limits.attempts) throw again ?? failure;
  }
}

/** One request's bytes, on disk when it returns or throws. A body that goes on past the image's end is left there. */
async function fetchPart(file: HashedFile, head: HeadInspection | undefined, transfer: Transfer): Promise<void> {
  const { images, image, expected, reporter, progress } = transfer;
  const { sizeBytes } = expected;
  const request = { imageId: image.id, offsetBytes: file.bytes, expectedBytes: sizeBytes, signal: reporter.signal };
  try {
    if (await images.downloadInto?.(request, watchedSink(file, head, transfer))) return;
  } finally {
    await file.flush();
  }
  const { startsAtBytes, body } = await images.openDownload(request);
  let position = startsAtBytes;
  const known = file.bytes;
  try {
    for await (const chunk of body) {
      transfer.bytesDownloaded += chunk.length;
      const isNew = chunk.subarray(Math.max(known - position, 0), sizeBytes - position);
      if (isNew.length > 0) head?.see(isNew, Math.max(known, position));
      position += chunk.length;
      if (isNew.length > 0) await file.append(isNew);
      progress.downloading(Math.min(position, sizeBytes));
      if (position >= sizeBytes) break;
    }
  } finally {
    await file.flush();
  }
  if (file.bytes < sizeBytes)
    throw new Failure('ImageServiceUnavailable', {
      service: images.endpoint,
      cause: `the body ended at byte ${position} of ${sizeBytes}`,
    });
}

/** The file's own, with everything that is looked at while the bytes come. */
function watchedSink(
  { sink, bytes }: HashedFile,
  head: HeadInspection | undefined,
  transfer: Transfer,
): HashedFile['sink'] {
  let position = bytes;
  let room: Buffer | undefined;
  return {
    room: () => (room = sink.room()),
    awaitRoom: () => sink.awaitRoom(),
    filled(count) {
      transfer.bytesDownloaded += count;
      if (room !== undefined) head?.see(room.subarray(0, count), position);
      position += count;
      sink.filled(count);
      transfer.progress.downloading(position);
    },
  };
}

type PassingFailure = Failure<'ImageServiceUnavailable'> | Failure<'IdentityUnavailable'>;

/** @returns the passing failure of `work`; throws what is final. */
async function findFailure(work: () => Promise<void>): Promise<PassingFailure | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (isFailure(error, 'ImageServiceUnavailable') || isFailure(error, 'IdentityUnavailable')) return error;
    throw error;
  }
}
