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
import {
  CancellationScope,
  log,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { FailureRecord } from './contract/failures';
import type { BackendName, HostId, VolumeId } from './contract/ids';
import { searchAttributes, siblingQueues } from './contract/names';
import type { Admission, CloneOutcome, FlightVerdict, Story, Verdict } from './contract/population';
import type { BypassReason, CreateVolumeInput, CreateVolumeResult } from './contract/volume';
import { inTask, onBackend, onHost, waiting } from './lib/activity-profiles';
import {
  bypassReasons,
  describeAdmitting,
  describeBypass,
  describeCreated,
  describeGivenUp,
  describeRefused,
  describeWaiting,
  progressLink,
  workflowLink,
} from './lib/details';
import { deleteFreedEntry } from './lib/delete-freed-entries';
import {
  fail,
  failCancelled,
  failWith,
  findFailure,
  findFailureFor,
  isBudgetSpent,
  isCancelled,
  typed,
} from './lib/fail';
import { isNoRoom, withHost } from './lib/host-affinity';
import { UndoStack } from './lib/undo-stack';
import { progressQuery, type CreateProgress } from './messages';

/** Rounds of acquire and wait: more than one happens only when a parent was lost or evicted in between. */
const MAX_ROUNDS = 10;
/**
 * Flights that one create waits for: more than its rounds where some have failed for other images with the same bytes.
 */
const MAX_FLIGHTS = 100;
/** The budget of admission alone: the create's own is known once it is admitted. */
const ADMIT_BUDGET_MS = 6 * 3_600_000;

/** A volume whose row this run has inserted. */
interface Admitted {
  volumeId: VolumeId;
  backend: BackendName;
}

/** One create under way: what its steps share. */
interface Create {
  volumeId: VolumeId;
  admission: Admission;
  story: Story;
  undo: UndoStack;
  progress: CreateProgress;
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
  try {
    return await typed(() => inTask(step, (a) => a.admitVolume(input)));
  } catch (error) {
    if (isCancelled(error)) {
      const completed = await CancellationScope.nonCancellable(() => withdraw(input));
      if (completed) return { kind: 'available', result: completed } as const;
      failCancelled(error);
    }
    const failure = findFailure(error);
    if (failure !== undefined) setCurrentDetails(describeRefused(failure));
    throw error;
  }
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
      noteElapsed(create);
      const cloned = await onBackend(admission.backend, {
        summary: 'clone the image-volume',
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
  const step = { summary: 'lease a ready entry, clone it where that is instant', budgetMs: budgetMs(create) };
  return await inTask(step, (a) => a.acquireAndClone({ volumeId, admission, story }));
}

/**
 * Joins the flight of this key and waits for its verdict. @returns undefined when that flight was overtaken: acquire
 * again.
 */
async function waitForPopulation(
  create: Create,
  { round, atCloneLimit }: { round: number; atCloneLimit: boolean },
): Promise<Verdict | undefined> {
  const { volumeId, admission, story, progress } = create;
  const flight = siblingQueues(workflowInfo().taskQueue).ids.populate(admission.backend, admission.cacheKey.short);
  progress.stage = 'waiting';
  progress.flightWorkflowId = flight;
  setCurrentDetails(describeWaiting(admission, workflowLink(flight)));
  tag(admission);
  const waitedFromMs = Date.now();
  const answer = await joinAndWait(create, { flight, activityId: `wait-${round}`, atCloneLimit });
  story.timingsMs.wait = (story.timingsMs.wait ?? 0) + Date.now() - waitedFromMs;
  if (answer === null) return undefined;
  const leads = answer.leader === volumeId;
  story.outcome = leads ? 'miss' : 'joined';
  const who = answer.leader === null ? 'the cache' : 'another create';
  story.reason = leads
    ? 'the image was not cached: this create populated the cache'
    : `${who} was populating the cache already`;
  return answer.verdict;
}

/**
 * The row says who waits before anybody waits, and by an activity id of our own choosing: whatever dies in between, the
 * flight's end reaches the waiting activity, or that activity finds the verdict when it looks.
 */
async function joinAndWait(
  create: Create,
  { flight, ...join }: { flight: string; activityId: string; atCloneLimit: boolean },
): Promise<FlightVerdict | null> {
  const { volumeId, admission } = create;
  const step = { summary: `join ${flight}`, budgetMs: budgetMs(create) };
  const joined = await inTask(step, (a) => a.joinPopulation({ volumeId, admission, ...join }));
  if (joined.kind === 'answered') return joined.answer;
  const waitStep = { summary: `wait for ${flight}`, budgetMs: budgetMs(create) };
  const { safetyIntervalMs } = admission;
  return await waiting(waitStep, { activityId: join.activityId, safetyIntervalMs }).awaitVerdict({
    volumeId,
    admission,
    flight: joined.flight,
  });
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
      image: admission.imageId,
      target: `volume ${volumeId}`,
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
  const failure = cancelled ? undefined : failureOf(create, error);
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

function failureOf(create: Create, error: unknown): FailureRecord | undefined {
  const { volumeId, admission } = create;
  const failure = findFailure(error);
  if (!isBudgetSpent(error)) return failure;
  const last = failure?.message ?? String(error);
  const message = `volume ${volumeId} was not created within ${admission.budgetMs / 1000} s; the last failure was: ${last}`;
  return { type: 'BudgetSpent', message, details: { volumeId, budgetMs: admission.budgetMs, last } };
}

async function removeVolume({ volumeId, backend }: Admitted): Promise<void> {
  await onBackend(backend, { summary: 'undo: remove what exists of the volume' }).removeVolume({ volumeId });
}

/** For the total, which a later step measures by its own clock from here on. */
function noteElapsed({ admission, story }: Create): void {
  story.elapsedMs = Math.max(Date.now() - story.startedAtMs, admission.admitMs);
}

/** The rest of the create's budget. Its activities keep it, never a workflow timeout, which would skip the undo. */
function budgetMs({ admission, story }: Create): number {
  return Math.max(1000, admission.budgetMs - (Date.now() - story.startedAtMs));
}

/** Search attributes, where the namespace has them. A hit upserts once: each upsert is an event and an action. */
function tag(admission: Admission, outcome?: CreateVolumeResult['outcome'] | 'failed'): void {
  if (!admission.searchAttributes) return;
  upsertSearchAttributes([
    { key: searchAttributes.backend, value: admission.backend },
    { key: searchAttributes.imageId, value: admission.imageId },
    { key: searchAttributes.cacheKey, value: admission.cacheKey.short },
    ...(outcome === undefined ? [] : [{ key: searchAttributes.outcome, value: outcome }]),
  ]);
}
