import { setCurrentDetails } from '@temporalio/workflow';
import type { BackendName } from '../contract/ids';
import type { ImageSnapshot } from '../contract/upload';
import { onBackend, onBackendInBulk } from './activity-profiles';
import { failCancelled, failWith, findFailure, isCancelled } from './fail';
import { UndoStack } from './undo-stack';
import { describeSnapshotUndone } from './upload-details';

type SnapshotOn = ImageSnapshot & { backend: BackendName };

/** Takes the snapshot, of which nothing stays when the run fails. */
export async function takeSnapshot({ backend, ...plan }: SnapshotOn, undo: UndoStack): Promise<void> {
  undo.before('the snapshot', () =>
    onBackend(backend, { summary: 'undo: remove the snapshot' }).removeImageSnapshot(plan),
  );
  await onBackendInBulk(backend, { summary: `take a snapshot of volume ${plan.volumeId}` }).takeImageSnapshot(plan);
}

export async function removeSnapshot({ backend, ...plan }: SnapshotOn): Promise<void> {
  await onBackend(backend, { summary: 'remove the snapshot' }).removeImageSnapshot(plan);
}

/** Runs a whole workflow's work, which is undone where it fails or is cancelled. */
export async function undoneOnFailure<Result>(work: (undo: UndoStack) => Promise<Result>): Promise<Result> {
  const undo = new UndoStack();
  try {
    return await work(undo);
  } catch (error) {
    const cancelled = isCancelled(error);
    const failure = cancelled ? undefined : findFailure(error);
    if (failure === undefined && !cancelled) throw error;
    setCurrentDetails(describeSnapshotUndone(failure));
    await undo.run();
    return failure === undefined ? failCancelled(error) : failWith(failure, error);
  }
}
