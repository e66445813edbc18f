/** `CreateSnapshot`: admit -> take -> available; a failure is undone, and the row is `error`. */
import { CancellationScope, setCurrentDetails } from '@temporalio/workflow';
import type { FailureRecord } from './contract/failures';
import type { CreateSnapshotInput, CreateSnapshotResult, SnapshotPlan } from './contract/snapshot';
import { inTask, onBackend, onBackendInBulk } from './lib/activity-profiles';
import { deleteFreedEntry } from './lib/delete-freed-entries';
import { describeSnapshotRun, describeSnapshotRefused, progressLink } from './lib/details';
import { failCancelled, failWith, findFailure, isCancelled, typed } from './lib/fail';
import { UndoStack } from './lib/undo-stack';

export async function CreateSnapshot(input: CreateSnapshotInput): Promise<CreateSnapshotResult> {
  const admitted = await admit(input);
  const result = admitted.kind === 'available' ? admitted.result : await make(input, admitted.plan);
  setCurrentDetails(describeSnapshotRun(result, 'available'));
  return result;
}

async function admit(input: CreateSnapshotInput) {
  const step = { summary: 'validate the request against the volume, insert the snapshot row' };
  try {
    return await typed(() => inTask(step, (a) => a.admitSnapshot(input)));
  } catch (error) {
    if (!isCancelled(error)) throw error;
    // Nothing was made, and the row may be there.
    const found = await CancellationScope.nonCancellable(() =>
      inTask({ summary: 'find out whether the snapshot row was inserted' }, (a) => a.findAdmittedSnapshot(input)),
    );
    const completed = found === null ? undefined : await endRow(input, found);
    if (completed !== undefined) return { kind: 'available', result: completed } as const;
    return failCancelled(error);
  }
}

async function make(input: CreateSnapshotInput, plan: SnapshotPlan): Promise<CreateSnapshotResult> {
  const { by, requestId } = input;
  const { backend, snapshotId, volumeId } = plan;
  const undo = new UndoStack();
  undo.before('the snapshot', () =>
    onBackend(backend, { summary: 'undo: remove what exists of the snapshot' }).removeSnapshot({
      snapshotId,
      volumeId,
    }),
  );
  setCurrentDetails(describeSnapshotRun(plan, 'creating', progressLink()));
  try {
    return await onBackendInBulk(backend, { summary: `take a snapshot of volume ${volumeId}` }).takeSnapshot({
      plan,
      by,
      requestId,
    });
  } catch (error) {
    const cancelled = isCancelled(error);
    const failure = cancelled ? undefined : findFailure(error);
    if (failure === undefined && !cancelled) throw error;
    await undo.run();
    const completed = await CancellationScope.nonCancellable(() => endRow(input, plan, failure));
    if (completed !== undefined) return completed;
    if (failure === undefined) return failCancelled(error);
    setCurrentDetails(describeSnapshotRefused(failure));
    return failWith(failure, error);
  }
}

/** Marks the row `error`, or `deleted` for a cancelled create. @returns the result of one that is complete after all. */
async function endRow(
  { by, requestId }: CreateSnapshotInput,
  { snapshotId }: SnapshotPlan,
  failure?: FailureRecord,
): Promise<CreateSnapshotResult | undefined> {
  const step = { summary: `mark the snapshot ${failure === undefined ? 'deleted' : 'error'}` };
  const ended = await CancellationScope.nonCancellable(() =>
    inTask(step, (a) => a.failSnapshot({ snapshotId, failure, by, requestId })),
  );
  await deleteFreedEntry(ended);
  return ended.completed;
}
