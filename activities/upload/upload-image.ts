import { Context } from '@temporalio/activity';
import type { Semaphore } from '../../lib/semaphore';
import { Failure, isFailure } from '../../workflows/contract/failures';
import type { UploadedImage, UploadPlan } from '../../workflows/contract/upload';
import type { HostDependencies } from '../dependencies';
import { rawFileOf, readFileParts, type ImageFile, type SparseReader } from '../image/file-parts';
import { createHashedBody } from '../image/hashed-body';
import { qcow2FileOf } from '../image/qcow2-file';
import { createTransferProgress } from '../image/transfer-progress';
import { createHeartbeatReporter, keepingAlive, lastHeartbeat, waitingForTurn } from '../kit/heartbeat-reporter';
import { openSnapshot } from '../kit/open-snapshot';
import type { ProgressReporter } from '../progress';
import { hashFile, USUAL_HASH } from './hash-file';
import { storedBytesOf } from './image-record';
import { recordUpload } from './upload-event';

/**
 * How long an image may stay `saving` for an earlier try. Glance gives it back within moments when it sees the connection end, and after its
 * `client_socket_timeout` of 15 minutes when a machine is gone without a word; one that was itself killed meanwhile leaves it for ever.
 */
const MOST_SAVING_MS = 20 * 60_000;

/**
 * Fills the queued image with a snapshot's bytes, as they are read; holes are sent as zeros and not read. The service must then have the bytes that
 * were sent. A broken upload begins again. Heartbeats. Idempotent: an image that is filled is compared.
 * @throws ImageNotFound (it was deleted), ImageNotUploaded, InvalidRequest, SnapshotNotFound (final); ImageServiceUnavailable, BackendUnavailable
 * (retried).
 */
export function createUploadImage(deps: HostDependencies, uploads: Semaphore) {
  return async function uploadImage(plan: UploadPlan): Promise<UploadedImage> {
    const first = { stage: 'waiting', summary: `asking the image service for image ${plan.imageId}` } as const;
    return await keepingAlive(createHeartbeatReporter(), first, async (reporter) => {
      const onWait = (ahead: number) => reporter.report(waitingForTurn(ahead, 'upload'));
      return await uploads.run(() => upload(deps, plan, reporter), { onWait, signal: reporter.signal });
    });
  };
}

async function upload(deps: HostDependencies, plan: UploadPlan, reporter: ProgressReporter): Promise<UploadedImage> {
  const { imageId } = plan;
  const { status } = await deps.images.getImage(imageId, reporter.signal);
  if (status === 'saving') return waitForEarlierTry(deps, imageId);
  if (status !== 'queued' && status !== 'active')
    throw new Failure('ImageNotUploaded', { imageId, cause: `it is ${status}` });
  const disk = await openSnapshot(deps, plan.backend, plan);
  try {
    const file = plan.record.diskFormat === 'qcow2' ? await qcow2FileOf(disk) : rawFileOf(disk);
    const source = { file, disk };
    const sent = status === 'queued' ? await send(deps, { imageId, ...source }, reporter) : undefined;
    const stored = await checkStored(deps, { imageId, sent, ...source }, reporter);
    await recordUpload(deps, plan, { transfer: 'sent' });
    return stored;
  } finally {
    await disk.close();
  }
}

interface Source {
  imageId: UploadPlan['imageId'];
  file: ImageFile;
  disk: SparseReader;
}

/** @returns the hash of what was sent, in hex. */
async function send(
  deps: HostDependencies,
  { imageId, file, disk }: Source,
  reporter: ProgressReporter,
): Promise<string> {
  const { images } = deps;
  const { sizeBytes } = file;
  const { signal } = reporter;
  const progress = createTransferProgress(reporter, sizeBytes);
  const hashed = createHashedBody(USUAL_HASH);
  const read = tellingFailure(readFileParts(file, disk));
  try {
    const body = hashed.pass(read.body, (bytes) => progress.uploading(bytes));
    await images.uploadImage({ imageId, body, sizeBytes, signal });
    return await hashed.digest();
  } catch (error) {
    // To the client of the image service every end of a body is a broken connection.
    if (read.failure() !== undefined) throw read.failure();
    if (isFailure(error, 'InvalidRequest') && error.details.field === 'imageId') {
      const { status } = await images.getImage(imageId, signal);
      if (status === 'saving') return waitForEarlierTry(deps, imageId);
    }
    throw error;
  } finally {
    progress.end();
    await hashed.close();
  }
}

/**
 * Compares what the service says that it has stored with what was sent, or with the snapshot where that was an earlier try.
 * @throws ImageNotUploaded where it is something else: the image is removed then, where the account may (final).
 */
async function checkStored(
  { images }: HostDependencies,
  { imageId, sent, file, disk }: Source & { sent: string | undefined },
  reporter: ProgressReporter,
): Promise<UploadedImage> {
  const stored = storedBytesOf(await images.getImage(imageId, reporter.signal));
  const { imageBytes, hashAlgorithm, hashValue } = stored;
  const expected =
    sent !== undefined && hashAlgorithm === USUAL_HASH
      ? sent
      : await hashFile({ file, disk }, { algorithm: hashAlgorithm, reporter });
  if (imageBytes === file.sizeBytes && hashValue === expected) return stored;
  await images.deleteImage(imageId).catch(() => undefined);
  const cause = `the image service has stored ${imageBytes} bytes with ${hashAlgorithm} ${hashValue}, sent were ${file.sizeBytes} bytes with ${expected}`;
  throw new Failure('ImageNotUploaded', { imageId, cause });
}

function tellingFailure(body: AsyncIterable<Buffer>) {
  let failure: unknown;
  async function* telling(): AsyncGenerator<Buffer> {
    try {
      yield* body;
    } catch (error) {
      failure = error;
      throw error;
    }
  }
  return { body: telling(), failure: () => failure };
}

/** The wait is between two tries: that holds no slot. When it began is in the heartbeat details, which outlive a try. */
function waitForEarlierTry({ images }: HostDependencies, imageId: string): never {
  const nowMs = Date.now();
  const { savingSinceMs = nowMs } = lastHeartbeat<{ savingSinceMs: number }>();
  const summary = `image ${imageId} is still being saved for an earlier try`;
  if (nowMs - savingSinceMs > MOST_SAVING_MS)
    throw new Failure('ImageNotUploaded', {
      imageId,
      cause: 'the image service has left it saving, as when it is killed meanwhile',
    });
  Context.current().heartbeat({ stage: 'waiting', summary, savingSinceMs });
  throw new Failure('ImageServiceUnavailable', { service: images.endpoint, cause: summary });
}
