import { randomUUID } from 'node:crypto';
import type { SnapshotId } from '../workflows/contract/ids';
import { workflowTypes } from '../workflows/contract/names';
import type {
  ShareSnapshotInput,
  ShareSnapshotResult,
  UnshareSnapshotInput,
  UnshareSnapshotResult,
} from '../workflows/contract/share';
import type { ImageVolumeCache } from './connection';
import { checkUuid } from './object-ids';
import { checkProjectId } from './project-id';
import { runWorkflow, type Ran } from './run-workflow';
import { watchOf, type VolumeUploadOptions } from './uploads';

/**
 * Lets other projects create volumes from an available snapshot, by an image of its project, and waits until they can. Shared again, the image is the same
 * and the members are added.
 * @throws ImageVolumeCacheError `SnapshotNotFound`, `InvalidRequest`, `ImageNotUploaded`, `WaitInterrupted`. Undo: `unshareSnapshot`.
 */
export async function shareSnapshot<Options extends VolumeUploadOptions>(
  cache: ImageVolumeCache,
  input: ShareSnapshotInput,
  options: Options,
): Promise<Ran<ShareSnapshotResult, Options>> {
  const snapshotId = checkIds(input);
  const request = {
    type: workflowTypes.shareSnapshot,
    workflowId: cache.queues.ids.shareSnapshot(snapshotId, randomUUID()),
    conflict: 'USE_EXISTING',
    input: { ...input, snapshotId },
    summary: `share snapshot ${snapshotId}`,
  } as const;
  return await runWorkflow<ShareSnapshotResult, Options>(cache, request, {
    options,
    watch: watchOf(cache, options, 'uploading'),
  });
}

/**
 * Ends what other projects, or some of them, may do with a shared snapshot; the volumes that they have made stay. Repeated it goes on where it ended.
 * @throws ImageVolumeCacheError `SnapshotNotFound`, `InvalidRequest`, `WaitInterrupted`.
 */
export async function unshareSnapshot<Options extends VolumeUploadOptions>(
  cache: ImageVolumeCache,
  input: UnshareSnapshotInput,
  options: Options,
): Promise<Ran<UnshareSnapshotResult, Options>> {
  const snapshotId = checkIds(input);
  const request = {
    type: workflowTypes.unshareSnapshot,
    workflowId: cache.queues.ids.unshareSnapshot(snapshotId, randomUUID()),
    conflict: 'USE_EXISTING',
    input: { ...input, snapshotId },
    summary: `share snapshot ${snapshotId} no more`,
  } as const;
  return await runWorkflow<UnshareSnapshotResult, Options>(cache, request, { options });
}

function checkIds({ snapshotId, projectId }: UnshareSnapshotInput): SnapshotId {
  if (projectId !== undefined) checkProjectId(projectId);
  return checkUuid('snapshotId', snapshotId) as SnapshotId;
}
