/**
 * `CreateVolumeFromImage`: a bootable volume with an image's bytes.
 *
 *   admit -> acquire -+-> hit: clone, complete ------------------------------> available
 *              ^      +-> cold: join the population, wait for its verdict
 *              |                  ready --+   bypass: write the image into the volume -> available
 *              +--------------------------+   failed: undo -> error
 *
 * The row's reference to the entry is the lease: it is written by the statement that found the entry, so no eviction
 * can come between.
 */
import { CancellationScope, log, setCurrentDetails, setHandler, workflowInfo } from '@temporalio/workflow';
import type { FailureRecord } from './contract/failures';
import type { BackendName, HostId, VolumeId } from './contract/ids';
import type { Admission, CloneOutcome, Story } from './contract/population';
import type { BypassReason, CreateVolumeInput, CreateVolumeResult } from './contract/volume';
import { called } from './contract/markdown';
import { inTask, onBackend, onHost, backendQueueOf } from './lib/activity-profiles';
import { admitOrWithdraw } from './lib/admission';
import {
  bypassReasons,
  describeAdmitting,
  describeBypass,
  describeCloneStep,
  describeCreated,
  describeGivenUp,
  progressLink,
} from './lib/details';
import { deleteFreedEntry } from './lib/delete-freed-entries';
import { fail, failCancelled, failWith, findFailureFor, isCancelled } from './lib/fail';
import { isNoRoom, withHost } from './lib/host-affinity';
import {
  ADMIT_BUDGET_MS,
  budgetMs,
  failureOf,
  MAX_FLIGHTS,
  MAX_ROUNDS,
  noteElapsed,
  tag,
  waitForPopulation,
  type RunningCreate,
} from './lib/running-create';
import { UndoStack } from './lib/undo-stack';
import { progressQuery, type CreateProgress } from './messages';

/** A volume whose row this run has inserted. */
interface Admitted {
  volumeId: VolumeId;
  backend: BackendName;
}

/** One create under way: the data that its steps share. */
interface Create extends RunningCreate {
  volumeId: VolumeId;
  volumeIds: readonly [VolumeId];
  admission: Admission;
  undo: UndoStack;
}

export async function CreateVolumeFromImage(input: CreateVolumeInput): Promise<CreateVolumeResult> {
  const progress: CreateProgress = { stage: 'admitting' };
  setHandler(progressQuery, () => progress, {
    description: 'the stage, and the population that this create waits for',
  });

  setCurrentDetails(describeAdmitting(progressLink()));
  const startedAtMs = workflowInfo().startTime.getTime();
  const admitted = await admit(input);
  if (admitted.kind === 'available') {
    setCurrentDetails(describeCreated(admitted.result));
    return admitted.result;
  }

  const { volumeId, admission } = admitted;
  const story: Story = {
    startedAtMs,
    outcome: 'hit',
    reason: 'the image was cached',
    bytesDownloaded: 0,
    timingsMs: { admit: admission.admitMs },
  };
  const create: Create = {
    volumeId,
    volumeIds: [volumeId],
    admission,
    story,
    undo: new UndoStack(),
    progress: Object.assign(progress, { volumeId, backend: admission.backend }),
  };
  try {
    const result = admission.bypass ? await bypass(create, admission.bypass) : await cloneFromCache(create);
    progress.stage = 'done';
    setCurrentDetails(describeCreated(result));
    tag(admission, result.outcome);
    return result;
  } catch (error) {
    return await giveUp(create, error);
  }
}

async function admit(input: unknown) {
  const step = {
    summary: 'validate the request against the image and the backend, insert the volume row',
    budgetMs: ADMIT_BUDGET_MS,
  };
  return await admitOrWithdraw(
    () => inTask(step, (a) => a.admitVolume(input)),
    () => withdraw(input),
  );
}

/**
 * A cancel that comes while the request is admitted may find the row inserted: it ends like that of any cancelled
 * create. One that comes when all steps of a hit are done, in the task that has not yet told so, finds the volume
 * available.
 */
async function withdraw(input: unknown): Promise<CreateVolumeResult | undefined> {
  const step = { summary: 'find out whether the volume row was inserted' };
  const admitted = await inTask(step, (a) => a.findAdmitted(input));
  if (admitted === null) return undefined;
  await removeVolume(admitted);
  return await endRow(admitted, {
    startedAtMs: workflowInfo().startTime.getTime(),
    outcome: 'hit',
    reason: 'cancelled during admission',
    bytesDownloaded: 0,
    timingsMs: {},
  });
}

/** Hit, miss and join: acquire a parent and clone it; where there is none, wait for the one population of this key. */
async function cloneFromCache(create: Create): Promise<CreateVolumeResult> {
  const { volumeId, admission, story, undo, progress } = create;
  undo.before('the clone', () => removeVolume({ volumeId, backend: admission.backend }));
  for (let round = 0, lost = 0; lost < MAX_ROUNDS && round < MAX_FLIGHTS; round += 1) {
    progress.stage = 'acquiring';
    const acquired = await acquire(create);
    if (acquired.kind === 'cloned') return await finish(create, acquired);
    if (acquired.kind === 'leased') {
      progress.stage = 'cloning';
      setCurrentDetails(describeCloneStep(admission, backendQueueOf(admission.backend)));
      noteElapsed(create);
      const cloned = await onBackend(admission.backend, {
        summary: `clone image ${called(admission.imageId, admission.imageName)} into volume ${called(volumeId, admission.name)}`,
        budgetMs: budgetMs(create),
      }).cloneVolume({ volumeId, admission, story, entry: acquired.entry });
      if (cloned.kind === 'cloned') return await finish(create, cloned);
      await deleteFreedEntry(cloned);
    }
    if (acquired.kind === 'lost') await deleteFreedEntry(acquired);
    const atCloneLimit = acquired.kind === 'cold' && acquired.atCloneLimit;
    const verdict = await waitForPopulation(create, { round, atCloneLimit });
    if (verdict?.kind === 'failed') {
      const failure = findFailureFor(admission.imageId, verdict);
      if (failure) failWith(failure);
      continue;
    }
    lost += 1;
    if (verdict?.kind === 'bypass') return await bypass(create, verdict.reason);
    if (verdict?.kind === 'ready' && story.outcome === 'miss') {
      Object.assign(story.timingsMs, verdict.timingsMs);
      story.bytesDownloaded = verdict.bytesDownloaded;
      if (verdict.transfer !== undefined) story.reason += `; ${verdict.transfer}`;
    }
  }
  fail('BudgetSpent', { volumeId, budgetMs: admission.budgetMs, last: 'no population left a usable parent' });
}

/**
 * The volume is available. A parent that was retired while this clone was made, and that the clone does not need, goes
 * now.
 */
async function finish(
  { undo }: Create,
  cloned: Extract<CloneOutcome, { kind: 'cloned' }>,
): Promise<CreateVolumeResult> {
  undo.forget();
  await deleteFreedEntry(cloned);
  return cloned.result;
}

async function acquire(create: Create) {
  const { volumeId, admission, story } = create;
  noteElapsed(create);
  const image = called(admission.imageId, admission.imageName);
  const summary = `lease a ready entry of image ${image}, clone it where that is instant`;
  const step = { summary, budgetMs: budgetMs(create) };
  return await inTask(step, (a) => a.acquireAndClone({ volumeId, admission, story }));
}

/** Writes the image straight into the user's volume; bypassing callers of one host share its scratch file. */
async function bypass(create: Create, reason: BypassReason): Promise<CreateVolumeResult> {
  const { volumeId, admission, story, undo, progress } = create;
  Object.assign(story, { outcome: 'bypassed', reason: bypassReasons[reason], bypassReason: reason });
  progress.stage = 'writing';
  setCurrentDetails(describeBypass(reason, undefined, progressLink()));
  tag(admission);
  undo.before('the written volume', () => removeVolume({ volumeId, backend: admission.backend }));
  const user = workflowInfo().workflowId;
  const options = { budgetMs: budgetMs(create), onLost: (host: HostId) => undo.leaveHost(host) };
  return await withHost(admission.backend, options, async ({ hostId, moves }) => {
    const { transfer, convert, cleanup } = onHost(hostId, {
      image: called(admission.imageId, admission.imageName),
      target: `volume ${called(volumeId, admission.name)}`,
      budgetMs: budgetMs(create),
      conversionMs: admission.conversionMs,
    });
    undo.beforeOnHost(hostId, 'the scratch file', () => cleanup.releaseScratch({ source: admission, user }));
    const scratch = await transfer.downloadToScratch({ source: admission, user, moves });
    if (isNoRoom(scratch)) return scratch;
    story.bytesDownloaded += scratch.bytesDownloaded;
    story.timingsMs.download = scratch.downloadMs;
    setCurrentDetails(describeBypass(reason, scratch, progressLink()));
    noteElapsed(create);
    const result = await convert.writeVolume({ volumeId, admission, story, user });
    undo.forget();
    return result;
  });
}

/**
 * Undoes what was made, gives the row its end and ends the run with the first failure, never with an undo's. A volume
 * that turns out to be available is the run's result all the same: a step's answer was lost, or the cancel came too
 * late.
 */
async function giveUp(create: Create, error: unknown): Promise<CreateVolumeResult> {
  const { volumeId, admission, story, undo, progress } = create;
  const cancelled = isCancelled(error);
  const failure = cancelled ? undefined : failureOf(create, volumeId, error);
  if (failure === undefined && !cancelled) throw error;
  progress.stage = 'undoing';
  setCurrentDetails(describeGivenUp(failure, { volumeId, undone: false }));
  if (failure !== undefined) tag(admission, 'failed');
  await undo.run();
  const completed = await CancellationScope.nonCancellable(() =>
    endRow({ volumeId, backend: admission.backend }, story, failure),
  );
  if (completed) {
    progress.stage = 'done';
    setCurrentDetails(describeCreated(completed));
    tag(admission, completed.outcome);
    return completed;
  }
  setCurrentDetails(describeGivenUp(failure, { volumeId, undone: true }));
  if (failure === undefined) return failCancelled(error);
  log.warn('create failed', { volumeId, failureType: failure.type });
  return failWith(failure, error);
}

/**
 * Releases the lease and marks the row `error`, or `deleted` for a cancelled create; a retired parent goes with its
 * last clone. @returns the result of a create that is complete after all.
 */
async function endRow(
  { volumeId }: Admitted,
  story: Story,
  failure?: FailureRecord,
): Promise<CreateVolumeResult | undefined> {
  const step = { summary: `release the lease, mark the volume ${failure === undefined ? 'deleted' : 'error'}` };
  const end = { volumeId, failure, story };
  const ended = await inTask(step, (a) => a.failVolume(end));
  await deleteFreedEntry(ended);
  return ended.completed;
}

async function removeVolume({ volumeId, backend }: Admitted): Promise<void> {
  await onBackend(backend, { summary: 'undo: remove what exists of the volume' }).removeVolume({ volumeId });
}
