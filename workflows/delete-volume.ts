/**
 * `DeleteVolume`: `creating`, `available` or `error` -> `deleting` -> `deleted`.
 * A create that still runs is cancelled and waited for first; the last clone of a retired parent takes the parent with it.
 */
import { setCurrentDetails } from '@temporalio/workflow';
import type { VolumeId } from './contract/ids';
import type { DeleteVolumeInput, DeleteVolumeResult } from './contract/volume';
import { asking, control, localControl, localThenNormal, onBackend } from './lib/activity-profiles';
import { describeCancelling, describeDeleted } from './lib/details';
import { typed } from './lib/failure';
import { deleteFreedParent } from './lib/freed-parent';
import { workflowLink } from './lib/workflow-link';

export async function DeleteVolume(input: DeleteVolumeInput): Promise<DeleteVolumeResult> {
  const begun = await typed(() => beginDelete(input));
  const { volumeId } = begun;
  if (begun.kind === 'absent') {
    setCurrentDetails(describeDeleted(volumeId, 'absent'));
    return { volumeId, outcome: 'absent' };
  }

  if (begun.kind === 'creating') {
    setCurrentDetails(describeCancelling(volumeId, workflowLink(begun.workflowId)));
    await asking({ summary: 'cancel the create and wait until it has closed' }).cancelCreate(begun);
  }
  await typed(() =>
    onBackend(begun.backend, { summary: 'delete the volume unless somebody has it open' }).deleteVolume({ volumeId }),
  );
  const finished = await finishDelete(volumeId);
  const parentDeleted = await deleteFreedParent(begun.backend, finished);
  setCurrentDetails(describeDeleted(volumeId, parentDeleted ? 'with-parent' : 'deleted'));
  return { volumeId, outcome: 'deleted', ...(parentDeleted && { deletedParent: finished.freedEntry?.entryId }) };
}

async function beginDelete(input: unknown) {
  const step = { summary: 'mark the volume deleting' };
  return await localThenNormal(
    () => localControl(step).beginDelete(input),
    () => control(step).beginDelete(input),
  );
}

async function finishDelete(volumeId: VolumeId) {
  const step = { summary: 'mark the volume deleted, release its parent' };
  return await localThenNormal(
    () => localControl(step).finishDelete({ volumeId }),
    () => control(step).finishDelete({ volumeId }),
  );
}
