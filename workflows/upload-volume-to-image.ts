/**
 * `UploadVolumeToImage`: a volume as it is at one moment becomes an image of its project.
 *
 *   check -> record of the image, queued -> snapshot -> read, hash, and clone it into the image service's store, or else send it, compare
 *     [-> cache it, by a copy] -> remove the snapshot
 *
 * A run that is asked to holds its volume, which is `uploading` from the first step to the last.
 * The image's id is chosen before, so every step can be repeated. An early end of the run leaves no snapshot, and no image without its bytes.
 */
import { setCurrentDetails } from '@temporalio/workflow';
import { formatBytes } from './contract/bytes';
import type {
  UploadedImage,
  UploadPlan,
  UploadTransfer,
  UploadVolumeInput,
  UploadVolumeResult,
} from './contract/upload';
import { control, inTask } from './lib/activity-profiles';
import { progressLink } from './lib/details';
import { ensureCached } from './lib/ensure-cached';
import { typed } from './lib/fail';
import { describeTransfer, fillImage, undoImage } from './lib/fill-image';
import { removeSnapshot, takeSnapshot, undoneOnFailure } from './lib/image-snapshots';
import type { UndoStack } from './lib/undo-stack';
import { describeUploaded, describeUploading } from './lib/upload-details';
import { endingHold } from './lib/upload-hold';

export async function UploadVolumeToImage(input: UploadVolumeInput): Promise<UploadVolumeResult> {
  const result = isHeld(input) ? await endingHold(input, () => uploadAsAsked(input)) : await uploadAsAsked(input);
  setCurrentDetails(describeUploaded(result));
  return result;
}

/** Only a checked input is known to be an object. */
function isHeld(input: UploadVolumeInput | null | undefined): boolean {
  return input?.holdVolume === true;
}

async function uploadAsAsked(input: UploadVolumeInput): Promise<UploadVolumeResult> {
  const plan = await typed(() => inTask({ summary: 'check the request' }, (a) => a.planUpload(input)));
  return await undoneOnFailure((undo) => upload(plan, undo));
}

async function upload(plan: UploadPlan, undo: UndoStack): Promise<UploadVolumeResult> {
  const { imageId, volumeId, snapshotId, backend, projectId, record } = plan;
  undoImage(plan, undo);
  const made = await control({ summary: `make the record of image ${imageId}` }).ensureImageRecord(plan);
  setCurrentDetails(describeUploading(plan, progressLink()));
  const stored: UploadedImage & Partial<UploadTransfer> =
    made.kind === 'uploaded' ? made.image : await fill(plan, undo);
  const seed = made.kind === 'uploaded' ? undefined : { volumeId, snapshotId };
  const seeded = plan.seedCache ? await ensureCached({ imageId, backend, seed }) : undefined;
  await removeSnapshot(plan);
  const { name, diskFormat } = record;
  const how =
    made.kind === 'uploaded'
      ? 'was uploaded before'
      : `has ${formatBytes(stored.imageBytes)} of ${diskFormat}${describeTransfer(stored)}`;
  const result = { volumeId, imageId, projectId, backend, name, diskFormat, ...stored };
  return { ...result, ...(seeded && { seeded }), summary: `image ${imageId} ${how}` };
}

async function fill(plan: UploadPlan, undo: UndoStack): Promise<UploadedImage & UploadTransfer> {
  await takeSnapshot(plan, undo);
  return await fillImage(plan);
}
