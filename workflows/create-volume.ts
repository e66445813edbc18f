/**
 * `CreateVolume`: a volume of no image.
 *
 *   admit -+-> blank: make ------------------------------------> available
 *          +-> of a snapshot: clone it ------------------------> available
 *          +-> of a volume: take a snapshot of it, clone that, delete it -> available
 */
import { CancellationScope, log, setCurrentDetails, setHandler, uuid4, workflowInfo } from '@temporalio/workflow';
import type { FailureRecord } from './contract/failures';
import type { BackendName, SnapshotId, VolumeId } from './contract/ids';
import type { Story } from './contract/population';
import type { CreatePlainVolumeInput, CreateVolumeResult, PlainVolumePlan, VolumeSource } from './contract/volume';
import { inTask, onBackend, onBackendInBulk } from './lib/activity-profiles';
import { admitOrWithdraw } from './lib/admission';
import { deleteFreedEntry } from './lib/delete-freed-entries';
import { describeAdmitting, describeCreated, describeGivenUp, progressLink } from './lib/details';
import { fail, failCancelled, failWith, findFailure, isCancelled, typed } from './lib/fail';
import { runSnapshotDeletion } from './lib/snapshot-deletion';
import { UndoStack } from './lib/undo-stack';
import { progressQuery, type CreateProgress } from './messages';

export async function CreateVolume(input: CreatePlainVolumeInput): Promise<CreateVolumeResult> {
  const progress: CreateProgress = { stage: 'admitting' };
  setHandler(progressQuery, () => progress, { description: 'the stage of this create' });
  setCurrentDetails(describeAdmitting(progressLink()));
  const admitted = await admit(input);
  const result = admitted.kind === 'available' ? admitted.result : await make(admitted.plan, progress);
  setCurrentDetails(describeCreated(result));
  return result;
}

async function admit(input: CreatePlainVolumeInput) {
  const step = { summary: 'validate the request against its source, insert the volume row' };
  return await admitOrWithdraw(
    () => inTask(step, (a) => a.admitPlainVolume(input)),
    () => withdraw(input),
  );
}

/** A cancel that comes while the request is admitted may find the row inserted. */
async function withdraw(input: CreatePlainVolumeInput): Promise<CreateVolumeResult | undefined> {
  const found = await inTask({ summary: 'find out whether the volume row was inserted' }, (a) =>
    a.findAdmittedPlainVolume(input),
  );
  if (found === null) return undefined;
  await removeVolume(found);
  return await endRow(found.volumeId, { ...newStory('blank'), reason: 'cancelled during admission' });
}

function newStory(outcome: 'blank' | 'copied'): Story {
  const reason = outcome === 'blank' ? 'an empty volume was asked for' : 'it was made of another volume';
  return { startedAtMs: workflowInfo().startTime.getTime(), outcome, reason, bytesDownloaded: 0, timingsMs: {} };
}

async function make(plan: PlainVolumePlan, progress: CreateProgress): Promise<CreateVolumeResult> {
  const { volumeId, backend, admitMs } = plan;
  const story = newStory(plan.source.kind === 'blank' ? 'blank' : 'copied');
  story.timingsMs.admit = admitMs;
  Object.assign(progress, { volumeId, backend, stage: 'writing' });
  const undo = new UndoStack();
  undo.before('the volume', () => removeVolume(plan));
  try {
    const source = plan.source.kind === 'volume' ? await takeSnapshot(plan.source.volumeId, plan, undo) : plan.source;
    story.elapsedMs = Math.max(Date.now() - story.startedAtMs, admitMs);
    const step = { summary: `make volume ${volumeId}` };
    const made = await onBackendInBulk(backend, step).makePlainVolume({ plan: { ...plan, source }, story });
    undo.forget();
    if (plan.source.kind === 'volume' && source.kind === 'snapshot') await dropSnapshot(source.snapshotId);
    await deleteFreedEntry(made);
    progress.stage = 'done';
    return made.result;
  } catch (error) {
    return await giveUp(error, { plan, story, undo });
  }
}

/** Of the source as it is now: deleted when the volume is made of it. */
async function takeSnapshot(
  sourceVolumeId: VolumeId,
  { volumeId, backend }: PlainVolumePlan,
  undo: UndoStack,
): Promise<VolumeSource> {
  const snapshotId = uuid4() as SnapshotId;
  undo.before('the snapshot', () => runSnapshotDeletion({ snapshotId }));
  const input = { volumeId: sourceVolumeId, snapshotId, name: `for volume ${volumeId}` };
  const step = { summary: `admit a snapshot of volume ${sourceVolumeId}` };
  const admitted = await typed(() => inTask(step, (a) => a.admitSnapshot(input, 'copy')));
  if (admitted.kind === 'available') fail('SnapshotConflict', { snapshotId, found: 'one that nobody has asked for' });
  const { plan } = admitted;
  await onBackendInBulk(backend, { summary: `take a snapshot of volume ${sourceVolumeId}` }).takeSnapshot({ plan });
  return { kind: 'snapshot', snapshotId, volumeId: sourceVolumeId };
}

/** The volume is there: a snapshot that cannot be deleted now is left to the reconciler. */
async function dropSnapshot(snapshotId: SnapshotId): Promise<void> {
  try {
    await CancellationScope.nonCancellable(() => runSnapshotDeletion({ snapshotId }));
  } catch (error) {
    if (findFailure(error) === undefined) throw error;
    log.warn('a snapshot that was taken for a copy stays', { snapshotId, error: String(error) });
  }
}

async function giveUp(
  error: unknown,
  { plan: { volumeId }, story, undo }: { plan: PlainVolumePlan; story: Story; undo: UndoStack },
): Promise<CreateVolumeResult> {
  const cancelled = isCancelled(error);
  const failure = cancelled ? undefined : findFailure(error);
  if (failure === undefined && !cancelled) throw error;
  setCurrentDetails(describeGivenUp(failure, { volumeId, undone: false }));
  await undo.run();
  const completed = await CancellationScope.nonCancellable(() => endRow(volumeId, story, failure));
  if (completed) return completed;
  setCurrentDetails(describeGivenUp(failure, { volumeId, undone: true }));
  if (failure === undefined) return failCancelled(error);
  return failWith(failure, error);
}

/** Marks the row `error`, or `deleted` for a cancelled create. @returns the result of one that is complete after all. */
async function endRow(
  volumeId: VolumeId,
  story: Story,
  failure?: FailureRecord,
): Promise<CreateVolumeResult | undefined> {
  const step = { summary: `mark the volume ${failure === undefined ? 'deleted' : 'error'}` };
  const ended = await inTask(step, (a) => a.failVolume({ volumeId, failure, story }));
  await deleteFreedEntry(ended);
  return ended.completed;
}

async function removeVolume({ volumeId, backend }: { volumeId: VolumeId; backend: BackendName }): Promise<void> {
  await onBackend(backend, { summary: 'undo: remove what exists of the volume' }).removeVolume({ volumeId });
}
