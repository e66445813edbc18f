/**
 * `SeedImageCache`: a volume that holds exactly an image's bytes becomes their parent in the cache, by a copy that needs the volume no more.
 *
 *   check -> snapshot -> read and compare with the image's hash -> open or join the key's flight, which copies -> remove the snapshot
 *
 * Creates that come meanwhile join that flight.
 */
import { setCurrentDetails } from '@temporalio/workflow';
import type { SeedInput, SeedPlan, SeedResult } from './contract/upload';
import { inTask, readingOn } from './lib/activity-profiles';
import { ensureCached } from './lib/ensure-cached';
import { typed } from './lib/fail';
import { withHost } from './lib/host-affinity';
import { describeSeeded, describeSeeding } from './lib/upload-details';
import { removeSnapshot, takeSnapshot, undoneOnFailure } from './lib/image-snapshots';
import { progressLink } from './lib/details';
import type { UndoStack } from './lib/undo-stack';

export async function SeedImageCache(input: SeedInput): Promise<SeedResult> {
  const plan = await typed(() => inTask({ summary: 'check the request' }, (a) => a.planSeed(input)));
  const result = await undoneOnFailure((undo) => seed(plan, undo));
  setCurrentDetails(describeSeeded(result));
  return result;
}

async function seed(plan: SeedPlan, undo: UndoStack): Promise<SeedResult> {
  const { imageId, volumeId, snapshotId, backend } = plan;
  setCurrentDetails(describeSeeding(plan, progressLink()));
  await takeSnapshot(plan, undo);
  if (plan.isTold !== true) await compare(plan);
  const seeded = await ensureCached({ imageId, backend, seed: { volumeId, snapshotId } });
  const { outcome, entryId } = seeded;
  if (plan.isTold === true && outcome === 'populated' && entryId !== null)
    await inTask({ summary: 'note which volume it is a clone of' }, (a) => a.noteTold({ entryId, volumeId, imageId }));
  await removeSnapshot(plan);
  return { imageId, volumeId, backend, ...seeded };
}

async function compare(plan: SeedPlan): Promise<void> {
  const { imageId, volumeId, backend } = plan;
  await withHost(backend, {}, async ({ hostId }) => {
    await readingOn(hostId, {
      summary: `compare volume ${volumeId} with image ${imageId} on host ${hostId}`,
    }).compareVolume(plan);
    return {};
  });
}
