import { workflowInfo } from '@temporalio/workflow';
import type { DeleteSnapshotInput, DeleteSnapshotResult } from '../contract/snapshot';
import { inTask, onBackend, polling } from './activity-profiles';
import { deleteFreedEntry } from './delete-freed-entries';
import { typed } from './fail';

/** The steps of a snapshot's deletion. A create that still runs is cancelled and waited for first. */
export async function runSnapshotDeletion(input: DeleteSnapshotInput): Promise<DeleteSnapshotResult> {
  const begun = await typed(() =>
    inTask({ summary: 'mark the snapshot deleting' }, (a) => a.beginDeleteSnapshot(input)),
  );
  const { snapshotId } = begun;
  if (begun.kind === 'absent') return { snapshotId, outcome: 'absent' };
  // A run that undoes the snapshot it has begun would wait for its own end.
  if (begun.kind === 'creating' && begun.runId !== workflowInfo().runId)
    await polling({ summary: 'cancel the create and wait until it has closed' }).cancelCreate(begun);
  const { backend, volumeId } = begun;
  // Only a checked input is known to be an object.
  const { by, requestId } = input;
  await typed(() =>
    onBackend(backend, { summary: 'delete the snapshot' }).deleteSnapshotBytes({ snapshotId, volumeId }),
  );
  const finished = await inTask({ summary: 'mark the snapshot deleted, release its parent' }, (a) =>
    a.finishDeleteSnapshot({ snapshotId, by, requestId }),
  );
  const parentDeleted = await deleteFreedEntry(finished);
  return { snapshotId, outcome: 'deleted', ...(parentDeleted && { deletedParent: finished.freedEntry?.entryId }) };
}
