/**
 * `DeleteVolume`: `creating`, `available` or `error` -> `deleting` -> `deleted`.
 * A create that still runs is cancelled and waited for first; with the last clone of a retired parent its image-volume
 * is deleted. With `cascade` its snapshots are deleted before.
 */
import { setCurrentDetails } from '@temporalio/workflow';
import type { SnapshotId } from './contract/ids';
import type { DeleteVolumeInput, DeleteVolumeResult } from './contract/volume';
import { inTask, onBackend, polling } from './lib/activity-profiles';
import { runSnapshotDeletion } from './lib/snapshot-deletion';
import { describeCancelling, describeDeleted, describeDeletingSnapshots, workflowLink } from './lib/details';
import { typed } from './lib/fail';
import { deleteFreedEntry } from './lib/delete-freed-entries';

export async function DeleteVolume(input: DeleteVolumeInput): Promise<DeleteVolumeResult> {
  const begin = async () =>
    await typed(() => inTask({ summary: 'mark the volume deleting' }, (a) => a.beginDelete(input)));
  const deletedSnapshots: SnapshotId[] = [];
  let begun = await begin();
  for (; begun.kind === 'has-snapshots'; begun = await begin()) {
    setCurrentDetails(describeDeletingSnapshots(begun.volumeId));
    for (const snapshotId of begun.snapshotIds) {
      await runSnapshotDeletion({ snapshotId, by: input.by, requestId: input.requestId });
      deletedSnapshots.push(snapshotId);
    }
  }
  const { volumeId } = begun;
  if (begun.kind === 'absent') {
    setCurrentDetails(describeDeleted(volumeId, 'absent'));
    return { volumeId, outcome: 'absent' };
  }

  // Only a checked input is known to be an object.
  const { by, requestId, force } = input;
  if (begun.kind === 'creating') {
    setCurrentDetails(describeCancelling(volumeId, workflowLink(begun.workflowId)));
    await polling({ summary: 'cancel the create and wait until it has closed' }).cancelCreate({ ...begun, force });
  }
  await typed(() =>
    onBackend(begun.backend, { summary: 'delete the volume unless it is open' }).deleteVolume({
      volumeId,
      by,
      requestId,
    }),
  );
  const finishStep = { summary: 'mark the volume deleted, release its parent' };
  const finished = await inTask(finishStep, (a) => a.finishDelete({ volumeId, force, by, requestId }));
  const parentDeleted = await deleteFreedEntry(finished);
  setCurrentDetails(describeDeleted(volumeId, parentDeleted ? 'with-parent' : 'deleted'));
  return {
    volumeId,
    outcome: 'deleted',
    ...(parentDeleted && { deletedParent: finished.freedEntry?.entryId }),
    ...(deletedSnapshots.length > 0 && { deletedSnapshots }),
  };
}
