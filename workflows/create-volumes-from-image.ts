/**
 * `CreateVolumesFromImage`: many volumes with one image's bytes, in one run.
 *
 *   admit all -> lease and clone what has a parent -+-> all done ---------------------------------> result
 *                      ^                            +-> some cold: join the population, wait
 *                      +--- ready -----------------------+        failed, or cannot be cached: those fail
 *
 * Each volume has its own row, decision and undo, as if it had been asked for alone. One that cannot be made stops no other; the request's
 * `onFailure` decides whether the others stay then.
 */
import { CancellationScope, log, setCurrentDetails, setHandler, workflowInfo } from '@temporalio/workflow';
import { publicMessage, type FailureRecord } from './contract/failures';
import type { BackendName, VolumeId } from './contract/ids';
import type { BulkAdmission, FreedEntry, NamedVolume, Story } from './contract/population';
import type { CreateVolumesInput, CreateVolumesResult, FailedVolume, MadeVolume } from './contract/volume';
import { inTask, onBackendInBulk } from './lib/activity-profiles';
import { describeCloning, describeVolumes, describeVolumesUndone, summarizeVolumes } from './lib/bulk-details';
import { deleteFreedEntries } from './lib/delete-freed-entries';
import { bypassReasons, describeAdmitting, describeRefused, progressLink } from './lib/details';
import { failCancelled, failWith, findFailure, findFailureFor, isCancelled, typed } from './lib/fail';
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
import { progressQuery, type CreateProgress } from './messages';

/** A bulk create under way. */
interface Bulk {
  admission: BulkAdmission;
  story: Story;
  progress: CreateProgress;
  /** Those that are neither made nor failed. */
  left: NamedVolume[];
  made: MadeVolume[];
  failed: FailedVolume[];
}

export async function CreateVolumesFromImage(input: CreateVolumesInput): Promise<CreateVolumesResult> {
  const progress: CreateProgress = { stage: 'admitting' };
  setHandler(progressQuery, () => progress, {
    description: 'the stage, how many volumes are done, and the population that this create waits for',
  });
  setCurrentDetails(describeAdmitting(progressLink()));
  const admission = await admit(input);
  const { volumes, available, admitMs } = admission;
  const story: Story = {
    startedAtMs: workflowInfo().startTime.getTime(),
    outcome: 'hit',
    reason: 'the image was cached',
    bytesDownloaded: 0,
    timingsMs: { admit: admitMs },
  };
  const bulk: Bulk = { admission, story, progress, left: volumes, made: [...available], failed: [] };
  progress.backend = admission.backend;
  note(bulk);
  try {
    await cloneFromCache(bulk);
  } catch (error) {
    if (isCancelled(error)) return await endCancelled(bulk, error);
    const failed = bulk.left.map(({ volumeId }) => ({ volumeId, failure: failureOf(bulk, volumeId, error) }));
    const known = failed.filter((each): each is FailedVolume => each.failure !== undefined);
    // An error of workflow code holds the task until the fix is deployed.
    if (known.length < failed.length) throw error;
    bulk.failed.push(...known);
    bulk.left = [];
  }
  return await end(bulk);
}

async function admit(input: unknown): Promise<BulkAdmission> {
  const step = {
    summary: 'validate the request against the image and the backend, insert the rows of the volumes',
    budgetMs: ADMIT_BUDGET_MS,
  };
  try {
    return await typed(() => inTask(step, (a) => a.admitVolumes(input)));
  } catch (error) {
    if (isCancelled(error)) {
      await CancellationScope.nonCancellable(() => withdraw(input));
      failCancelled(error);
    }
    const failure = findFailure(error);
    if (failure !== undefined) setCurrentDetails(describeRefused(failure));
    throw error;
  }
}

/** A cancel that comes while the request is admitted may find the rows inserted: they end like those of any cancelled create. */
async function withdraw(input: unknown): Promise<void> {
  const step = { summary: 'find out whether the rows of the volumes were inserted' };
  const admitted = await inTask(step, (a) => a.findAdmittedVolumes(input));
  if (admitted === null) return;
  const { admission, volumeIds } = admitted;
  await remove(admission.backend, volumeIds);
  await endRows({ volumeIds, admission, story: { timingsMs: {} } });
}

/** Leases and clones, and waits for the population of what has no parent yet, until none is left. */
async function cloneFromCache(bulk: Bulk): Promise<void> {
  const { admission, story, progress } = bulk;
  const { volumes: _, available: __, ...shared } = admission;
  const mostRounds = MAX_FLIGHTS + bulk.left.length;
  let cold = bulk.left.length;
  for (let round = 0, lost = 0; bulk.left.length > 0 && lost < MAX_ROUNDS && round < mostRounds; round += 1) {
    progress.stage = 'cloning';
    setCurrentDetails(describeCloning(bulk.left.length, admission.imageId, progressLink()));
    noteElapsed(bulk);
    const step = { summary: 'lease parents, clone them into the volumes', budgetMs: budgetMs(bulk) };
    const cloned = await onBackendInBulk(admission.backend, step).cloneVolumes({
      volumes: bulk.left,
      admission: shared,
      story,
    });
    bulk.made.push(...cloned.made);
    bulk.failed.push(...cloned.failed);
    bulk.left = cloned.left;
    note(bulk);
    await deleteFreed(cloned.freedEntries);
    const [first, ...others] = bulk.left.map(({ volumeId }) => volumeId);
    if (first === undefined || isToBeUndone(bulk)) return;
    const waiter: RunningCreate = { ...bulk, volumeIds: [first, ...others] };
    const verdict = await waitForPopulation(waiter, { round, atCloneLimit: cloned.atCloneLimit });
    if (verdict?.kind === 'failed') {
      const failure = findFailureFor(admission.imageId, verdict);
      if (failure) failWith(failure);
      continue;
    }
    if (verdict?.kind === 'bypass') failWith(notCached(admission, bypassReasons[verdict.reason]));
    // A parent of few clones takes many generations: only rounds that brought nothing are lost.
    if (cloned.cold >= cold) lost += 1;
    cold = cloned.cold;
    if (verdict?.kind === 'ready' && story.outcome === 'miss') {
      Object.assign(story.timingsMs, verdict.timingsMs);
      story.bytesDownloaded = verdict.bytesDownloaded;
    }
  }
  if (bulk.left.length === 0) return;
  const { budgetMs: budget } = admission;
  const last = 'no population left a usable parent';
  for (const { volumeId } of bulk.left) {
    const details = { volumeId, budgetMs: budget, last };
    const failure: FailureRecord = { type: 'BudgetSpent', message: publicMessage('BudgetSpent', details), details };
    bulk.failed.push({ volumeId, failure });
  }
  bulk.left = [];
}

function notCached({ imageId, backend }: BulkAdmission, reason: string): FailureRecord {
  const details = { imageId, backend, reason };
  return { type: 'NotCached', message: publicMessage('NotCached', details), details };
}

/** Whether none is to stay, because one has failed: nothing is completed then. */
function isToBeUndone(bulk: Bulk): boolean {
  return bulk.admission.onFailure === 'undo' && findCause(bulk) !== undefined;
}

/** @returns the first failure; a volume that somebody has deleted meanwhile is none. */
function findCause({ failed }: Bulk): FailureRecord | undefined {
  return failed.find(({ failure }) => failure.type !== 'CreateCancelled')?.failure;
}

/** Undoes what has failed, and with it all the others where that is asked for. The run fails when no volume is left. */
async function end(bulk: Bulk): Promise<CreateVolumesResult> {
  const { admission, story, made } = bulk;
  if (bulk.failed.length > 0) {
    bulk.progress.stage = 'undoing';
    const first = findCause(bulk) ?? bulk.failed[0]?.failure;
    await CancellationScope.nonCancellable(() => undo(bulk, first));
    if (first !== undefined && made.length === 0) {
      setCurrentDetails(describeVolumesUndone(first.message, bulk.failed));
      tag(admission, 'failed');
      log.warn('create failed', { volumes: bulk.failed.length, failureType: first.type });
      return failWith(first);
    }
  }
  return finish(bulk, story);
}

function finish(bulk: Bulk, story: Story): CreateVolumesResult {
  const { admission, failed } = bulk;
  const { imageId, projectId, backend } = admission;
  const made = inOrder(bulk);
  const result: CreateVolumesResult = {
    imageId,
    projectId,
    backend,
    volumes: made,
    failed,
    summary: summarizeVolumes(made, failed),
    bytesDownloaded: story.bytesDownloaded,
    timingsMs: { ...story.timingsMs, total: Date.now() - story.startedAtMs },
  };
  bulk.progress.stage = 'done';
  note(bulk);
  setCurrentDetails(describeVolumes(result));
  tag(admission, story.outcome);
  return result;
}

/** Volumes that were made before the cancel came stay; where that is all of them, the cancel came too late. */
async function endCancelled(bulk: Bulk, error: unknown): Promise<CreateVolumesResult> {
  bulk.progress.stage = 'undoing';
  await CancellationScope.nonCancellable(() => undo(bulk, undefined));
  if (bulk.left.length === 0 && bulk.failed.length === 0) return finish(bulk, bulk.story);
  setCurrentDetails(describeVolumesUndone(undefined, bulk.failed));
  return failCancelled(error);
}

/**
 * Removes what exists of the volumes that are not made, and ends their rows.
 * @param common what ended those that have not failed by themselves; undefined: a cancel.
 */
async function undo(bulk: Bulk, common: FailureRecord | undefined): Promise<void> {
  const { admission, story } = bulk;
  const failures = Object.fromEntries(bulk.failed.map(({ volumeId, failure }) => [volumeId, failure]));
  const volumeIds = [...bulk.failed, ...bulk.left].map(({ volumeId }) => volumeId);
  if (volumeIds.length === 0) return;
  try {
    await remove(admission.backend, volumeIds);
  } catch (error) {
    if (findFailure(error) === undefined) throw error;
    log.error('undo failed', { undo: 'the clones', error: String(error) });
  }
  const { backend, cacheKey } = admission;
  const ofFlight = { backend, shortKey: cacheKey.short };
  const completed = await endRows({ volumeIds, admission: ofFlight, story, failures, failure: common });
  const isCompleted = new Set(completed.map(({ volumeId }) => volumeId));
  bulk.made.push(...completed);
  bulk.failed = bulk.failed.filter(({ volumeId }) => !isCompleted.has(volumeId));
  bulk.left = bulk.left.filter(({ volumeId }) => !isCompleted.has(volumeId));
  if (common === undefined) return;
  bulk.failed.push(...bulk.left.map(({ volumeId }) => ({ volumeId, failure: common })));
  bulk.left = [];
}

async function remove(backend: BackendName, volumeIds: VolumeId[]): Promise<void> {
  await onBackendInBulk(backend, { summary: 'undo: remove what exists of the volumes' }).removeVolumes({ volumeIds });
}

/** @returns those that are complete after all. */
async function endRows(request: {
  volumeIds: VolumeId[];
  admission: { backend: BackendName; shortKey: string };
  story: Pick<Story, 'timingsMs'>;
  failures?: Record<VolumeId, FailureRecord>;
  failure?: FailureRecord;
}): Promise<MadeVolume[]> {
  const state = request.failure === undefined ? 'deleted' : 'error';
  const step = { summary: `release the leases, mark the volumes ${state}` };
  const ended = await inTask(step, (a) => a.failVolumes(request));
  await deleteFreed(ended.freedEntries);
  return ended.completed;
}

async function deleteFreed(freed: readonly FreedEntry[]): Promise<void> {
  if (freed.length > 0) await CancellationScope.nonCancellable(() => deleteFreedEntries(freed));
}

/** As they were asked for. */
function inOrder({ admission, made }: Bulk): MadeVolume[] {
  const places = new Map(admission.order.map((volumeId, place) => [volumeId, place]));
  const placeOf = ({ volumeId }: MadeVolume) => places.get(volumeId) ?? 0;
  return [...made].sort((one, other) => placeOf(one) - placeOf(other));
}

function note({ progress, admission, made, failed }: Bulk): void {
  progress.volumes = { total: admission.order.length, made: made.length, failed: failed.length };
}
