/**
 * `DeleteSnapshot`: `creating`, `available` or `error` -> `deleting` -> `deleted`. Volumes that were made of it stay; with what held a retired parent last
 * its image-volume is deleted.
 */
import { setCurrentDetails } from '@temporalio/workflow';
import type { DeleteSnapshotInput, DeleteSnapshotResult } from './contract/snapshot';
import { runSnapshotDeletion } from './lib/snapshot-deletion';
import { describeSnapshotDeleted } from './lib/details';

export async function DeleteSnapshot(input: DeleteSnapshotInput): Promise<DeleteSnapshotResult> {
  const result = await runSnapshotDeletion(input);
  setCurrentDetails(describeSnapshotDeleted(result));
  return result;
}
