/**
 * `DeleteVolume`: `creating`, `available` or `error` -> `deleting` -> `deleted`.
 * A create that still runs is cancelled and waited for first; with the last clone of a retired parent its image-volume
 * is deleted.
 */
import { setCurrentDetails } from '@temporalio/workflow';
import type { DeleteVolumeInput, DeleteVolumeResult } from './contract/volume';
import { inTask, onBackend, polling } from './lib/activity-profiles';
import { describeCancelling, describeDeleted, workflowLink } from './lib/details';
import { typed } from './lib/fail';
import { deleteFreedEntry } from './lib/delete-freed-entries';

export async function DeleteVolume(input: DeleteVolumeInput): Promise<DeleteVolumeResult> {
  const begun = await typed(() => inTask({ summary: 'mark the volume deleting' }, (a) => a.beginDelete(input)));
  const { volumeId } = begun;
  if (begun.kind === 'absent') {
    setCurrentDetails(describeDeleted(volumeId, 'absent'));
    return { volumeId, outcome: 'absent' };
  }

  if (begun.kind === 'creating') {
    setCurrentDetails(describeCancelling(volumeId, workflowLink(begun.workflowId)));
    await polling({ summary: 'cancel the create and wait until it has closed' }).cancelCreate(begun);
  }
  await typed(() =>
    onBackend(begun.backend, { summary: 'delete the volume unless it is open' }).deleteVolume({ volumeId }),
  );
  const finishStep = { summary: 'mark the volume deleted, release its parent' };
  const finished = await inTask(finishStep, (a) => a.finishDelete({ volumeId }));
  const parentDeleted = await deleteFreedEntry(finished);
  setCurrentDetails(describeDeleted(volumeId, parentDeleted ? 'with-parent' : 'deleted'));
  return { volumeId, outcome: 'deleted', ...(parentDeleted && { deletedParent: finished.freedEntry?.entryId }) };
}
