/**
 * `ShareSnapshot`: other projects create volumes from a snapshot, by an image of its project that has its bytes.
 *
 *   check, note the image -> record of the image, queued -> its bytes, by a clone or sent -> who may use it
 *
 * An image that is there already stays: shared again, more projects may use it. An early end of the run leaves no image without its bytes.
 */
import { setCurrentDetails } from '@temporalio/workflow';
import type { SharePlan, ShareSnapshotInput, ShareSnapshotResult } from './contract/share';
import type { UploadedImage, UploadTransfer } from './contract/upload';
import { control, inTask } from './lib/activity-profiles';
import { progressLink } from './lib/details';
import { typed } from './lib/fail';
import { describeTransfer, fillImage, undoImage } from './lib/fill-image';
import { undoneOnFailure } from './lib/image-snapshots';
import { describeShared, describeUploading } from './lib/upload-details';

export async function ShareSnapshot(input: ShareSnapshotInput): Promise<ShareSnapshotResult> {
  const step = { summary: 'check the request, note the image' };
  const plan = await typed(() => inTask(step, (a) => a.planShare(input)));
  const stored = await undoneOnFailure(async (undo) => {
    undoImage(plan, undo);
    const made = await control({ summary: `make the record of image ${plan.imageId}` }).ensureImageRecord(plan);
    setCurrentDetails(describeUploading(plan, progressLink()));
    return made.kind === 'uploaded' ? made.image : await fillImage(plan);
  });
  const { members } = await typed(() =>
    control({ summary: `say who may use image ${plan.imageId}` }).publishShare(plan),
  );
  const result = resultOf(plan, stored, members);
  setCurrentDetails(describeShared(result));
  return result;
}

function resultOf(
  { snapshotId, imageId, projectId, backend, visibility, record }: SharePlan,
  stored: UploadedImage & Partial<UploadTransfer>,
  members: ShareSnapshotResult['members'],
): ShareSnapshotResult {
  const who = visibility === 'shared' ? `${members.length} other projects` : 'every project';
  const summary = `snapshot ${snapshotId} is image ${imageId} for ${who}${describeTransfer(stored)}`;
  return { snapshotId, imageId, projectId, backend, name: record.name, visibility, members, ...stored, summary };
}
