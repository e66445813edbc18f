import { forgetPointer, markPointerReady, notePointer } from '../../db/pointers';
import { pause } from '../../lib/abort';
import type { Semaphore } from '../../lib/semaphore';
import { Failure, isFailure } from '../../workflows/contract/failures';
import type { BackendName, ImageId } from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';
import type { PointedImage, UploadedImage, UploadPlan } from '../../workflows/contract/upload';
import type { ImagePointer, MadePointer, VolumeBackend } from '../backends/backend';
import type { BackendDependencies, HostDependencies } from '../dependencies';
import type { AddedLocation } from '../glance/image-service';
import { rawFileOf } from '../image/file-parts';
import { backendHeld } from '../kit/backend-held';
import { createHeartbeatReporter, keepingAlive, waitingForTurn } from '../kit/heartbeat-reporter';
import { openSnapshot } from '../kit/open-snapshot';
import { isRunning, workflowExecution } from '../kit/runs';
import type { ProgressReporter } from '../progress';
import { hashFile, USUAL_HASH } from './hash-file';
import { storedBytesOf } from './image-record';
import { recordUpload } from './upload-event';

/** A service that hashes what it was pointed to does so in the background. */
const MOST_HASHING_MS = 60 * 60_000;
const POLL_MS = 500;
/** `importing`: a try before this one has told the service where it lies. */
const pointable: Image['status'][] = ['queued', 'importing', 'active'];
const NO_LIBRARY = 'librbd was not found';

/**
 * Gives a queued image its bytes by a clone of the snapshot in the image service's own store. The snapshot is read and hashed where it lies, since the
 * service believes what it is told; nothing is sent. Heartbeats. Idempotent: an image that has its bytes is compared. Undo: `removeUnusedPointer`.
 * @returns `impossible` where the image is still to be filled in another way.
 * @throws ImageNotFound (it was deleted), ImageNotUploaded, SnapshotNotFound, NoSpace (final); ImageServiceUnavailable, BackendUnavailable (retried).
 */
export function createPointImage(deps: HostDependencies, uploads: Semaphore) {
  return async function pointImage(plan: UploadPlan): Promise<PointedImage> {
    const backend = backendHeld(deps, plan.backend);
    if (backend.ensureImagePointer === undefined) return { kind: 'impossible', reason: NO_LIBRARY };
    const first = { stage: 'waiting', summary: `asking the image service for image ${plan.imageId}` } as const;
    return await keepingAlive(createHeartbeatReporter(), first, async (reporter) => {
      const onWait = (ahead: number) => reporter.report(waitingForTurn(ahead, 'upload'));
      const work = async (): Promise<PointedImage> => await point(deps, { plan, backend }, reporter);
      return await uploads.run(work, { onWait, signal: reporter.signal });
    });
  };
}

interface Pointing {
  plan: UploadPlan;
  backend: VolumeBackend;
}

async function point(deps: HostDependencies, pointing: Pointing, reporter: ProgressReporter): Promise<PointedImage> {
  const { plan, backend } = pointing;
  const { imageId, projectId, volumeId, snapshotId, sizeBytes } = plan;
  const { signal } = reporter;
  const { status } = await deps.images.getImage(imageId, signal);
  if (!pointable.includes(status)) return { kind: 'impossible', reason: `the image is ${status}` };
  const hash = await hashSnapshot(deps, plan, reporter);
  if (status !== 'active') {
    const pointer = { imageId, backend: backend.name, projectId, volumeId, snapshotId, sizeBytes };
    await notePointer(deps.database, { ...pointer, ...workflowExecution() });
    const reason = await makeAndTell(deps, pointing, { hash, reporter });
    // A service that was told by an earlier try, and heard late, has the pointer and needs it.
    if (reason !== undefined && (await deps.images.getImage(imageId, signal)).status === 'queued') {
      await remove(deps, backend, plan);
      return { kind: 'impossible', reason };
    }
  }
  const image = await checkTold(deps, { imageId, sizeBytes, hash, signal });
  await markPointerReady(deps.database, { imageId });
  await recordUpload(deps, plan, { transfer: 'pointer' });
  return { kind: 'pointed', image };
}

async function hashSnapshot(deps: HostDependencies, plan: UploadPlan, reporter: ProgressReporter): Promise<string> {
  const disk = await openSnapshot(deps, plan.backend, plan);
  try {
    return await hashFile({ file: rawFileOf(disk), disk }, { algorithm: USUAL_HASH, reporter });
  } finally {
    await disk.close();
  }
}

/** @returns why it is impossible; undefined when the service has it. */
async function makeAndTell(
  deps: HostDependencies,
  { plan, backend }: Pointing,
  { hash, reporter }: { hash: string; reporter: ProgressReporter },
): Promise<string | undefined> {
  const { imageId, projectId, volumeId, snapshotId } = plan;
  const { signal } = reporter;
  const pointer: ImagePointer = { imageId, projectId, volumeId, snapshotId };
  reporter.report({ stage: 'cloning', summary: 'cloning the snapshot into the image service’s store' });
  const onProgress = (fraction: number): void =>
    reporter.report({
      stage: 'cloning',
      summary: `giving the image bytes of its own: ${Math.round(100 * fraction)} %`,
    });
  const tell = async (made: MadePointer & { kind: 'made' }): Promise<AddedLocation> => {
    await removeAfterEnd(deps, plan);
    return await deps.images.addLocation({
      imageId,
      url: made.location,
      hashAlgorithm: USUAL_HASH,
      hashValue: hash,
      signal,
    });
  };
  const make = async (independent: boolean): Promise<MadePointer> =>
    (await backend.ensureImagePointer?.(pointer, { independent, signal, onProgress })) ?? {
      kind: 'impossible',
      reason: NO_LIBRARY,
    };
  const made = await make(false);
  if (made.kind === 'impossible') return made.reason;
  let told = await tell(made);
  // The service's own user may read no pool but its own: then what it reads must lie there.
  if (told === 'unreadable' && !made.independent) {
    const copied = await make(true);
    if (copied.kind === 'impossible') return copied.reason;
    told = await tell(copied);
  }
  if (told === 'added') return undefined;
  return told === 'unreadable'
    ? 'the image service cannot read it in its store'
    : 'the image service takes no locations from this account';
}

/** A try that was given up and comes late may find its run ended: nobody else would remove the pointer then. */
async function removeAfterEnd(deps: HostDependencies, plan: UploadPlan): Promise<void> {
  if (!(await isRunning(deps, workflowExecution()))) await removeUnlessWanted(deps, plan);
}

/** Waits until the service has the bytes. @throws ImageNotUploaded where it has others, or none in time (final). */
async function checkTold(
  { images }: HostDependencies,
  { imageId, sizeBytes, hash, signal }: { imageId: ImageId; sizeBytes: number; hash: string; signal: AbortSignal },
): Promise<UploadedImage> {
  const deadline = Date.now() + MOST_HASHING_MS;
  let image: Image = await images.getImage(imageId, signal);
  while ((image.status !== 'active' || image.hashValue === null) && Date.now() < deadline) {
    await pause(POLL_MS, signal);
    image = await images.getImage(imageId, signal);
  }
  const { status } = image;
  if (status !== 'active') throw new Failure('ImageNotUploaded', { imageId, cause: `it is ${status}` });
  const stored = storedBytesOf(image);
  if (stored.imageBytes === sizeBytes && stored.hashValue === hash) return stored;
  await images.deleteImage(imageId).catch(() => undefined);
  const cause = `the image service says that it has ${stored.imageBytes} bytes with ${stored.hashAlgorithm} ${stored.hashValue}, the snapshot has ${sizeBytes} bytes with ${hash}`;
  throw new Failure('ImageNotUploaded', { imageId, cause });
}

/** Removes the pointer where the image service has no such image, else keeps it. Idempotent. @throws ImageServiceUnavailable, BackendUnavailable (retried). */
export function createRemoveUnusedPointer(deps: BackendDependencies, _name: BackendName) {
  return async function removeUnusedPointer(plan: UploadPlan): Promise<void> {
    await removeUnlessWanted(deps, plan);
  };
}

async function removeUnlessWanted(deps: BackendDependencies, plan: UploadPlan): Promise<void> {
  try {
    await deps.images.getImage(plan.imageId);
  } catch (error) {
    if (!isFailure(error, 'ImageNotFound')) throw error;
    await remove(deps, backendHeld(deps, plan.backend), plan);
  }
}

async function remove(
  { database }: BackendDependencies,
  backend: VolumeBackend,
  { imageId, volumeId, snapshotId }: UploadPlan,
): Promise<void> {
  const left = await backend.ensureImagePointerAbsent?.({ imageId, volumeId, snapshotId });
  if (left !== 'needed') await forgetPointer(database, { imageId });
}
