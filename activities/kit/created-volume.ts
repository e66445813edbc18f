import { readVolumes } from '../../db/volumes';
import { MiB, roundUpTo } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import type { VolumeId } from '../../workflows/contract/ids';
import type { FreedEntry, Story, Admission } from '../../workflows/contract/population';
import type { BypassReason, Connection, CreateVolumeResult } from '../../workflows/contract/volume';
import type { VolumeBackend, VolumeMarker } from '../backends/backend';
import type { ControlDependencies } from '../dependencies';
import { findLiveRun, workflowExecution } from './runs';
import { completeVolumes, holdSize, removeOrphan, takeOverVolumes, type Completion } from '../../db/creates';
import { type VolumeRow } from '../../db/schema';

/** `freedEntry`: a parent that was retired meanwhile and that this clone does not need. */
interface Completed {
  result: CreateVolumeResult;
  freedEntry?: FreedEntry;
}

interface OneCompletion {
  volumeId: VolumeId;
  story: Story;
  sizeBytes: number;
  connection: Connection;
  /** Default: true. */
  bootable?: boolean;
  backend: VolumeBackend;
  /** When the activity began, by this process's monotonic clock. */
  stepStartedAtMs: number;
}

/**
 * As `completeAll`, for the one volume of its run.
 * @throws CreateCancelled when the row is no longer `creating` (final).
 */
export async function complete(
  deps: ControlDependencies,
  { volumeId, story, sizeBytes, connection, bootable, backend, stepStartedAtMs }: OneCompletion,
): Promise<Completed> {
  noteTotal(story, stepStartedAtMs);
  const { outcome, reason, bytesDownloaded, timingsMs } = story;
  const decision = { reason, bytesDownloaded, timingsMs };
  const completions = [{ volumeId, sizeBytes, connection, bootable, outcome, decision }];
  const { made, freed } = await completeAll(deps, { completions, backend, bypassReason: story.bypassReason });
  const row = made.get(volumeId);
  if (row === undefined) throw new Failure('CreateCancelled', { volumeId });
  return { result: resultOf(row, story), ...(freed[0] && { freedEntry: freed[0] }) };
}

/** For the decision: the time that the create has taken until now. */
export function noteTotal(story: Story, stepStartedAtMs: number): void {
  const stepMs = performance.now() - stepStartedAtMs;
  story.timingsMs.total = Math.round((story.elapsedMs ?? story.timingsMs.admit ?? 0) + stepMs);
}

/**
 * `creating` -> `available` by compare-and-set, with the decision records. Where a row is no longer `creating` (deleted
 * meanwhile, or this attempt was given up), what was made is removed: a late effect leaves nothing behind. Idempotent.
 * @returns the rows of those that are available, and the parents that may be deleted now.
 */
export async function completeAll(
  deps: ControlDependencies,
  {
    completions,
    backend,
    bypassReason,
    ofSeveral,
  }: { completions: Completion[]; backend: VolumeBackend; bypassReason?: BypassReason; ofSeveral?: boolean },
): Promise<{ made: Map<VolumeId, VolumeRow>; freed: FreedEntry[] }> {
  const { runId } = workflowExecution();
  const make = (wanted: Completion[]) => completeVolumes(deps.database, { runId, completions: wanted, ofSeveral });
  const { outcomes, freed } = await make(completions);
  const missed = completions.filter(({ volumeId }) => outcomes.get(volumeId)?.kind !== 'completed');
  const missedIds = missed.map(({ volumeId }) => volumeId);
  if (missed.length > 0 && (await goOnAfterReset(deps, missedIds))) {
    const again = await make(missed);
    for (const [volumeId, outcome] of again.outcomes) outcomes.set(volumeId, outcome);
    freed.push(...again.freed);
  }
  const made = new Map<VolumeId, VolumeRow>();
  for (const { volumeId, outcome, decision } of completions) {
    const completed = outcomes.get(volumeId);
    if (completed?.kind !== 'completed') continue;
    made.set(volumeId, completed.volume);
    const { saved } = completed;
    const took = { seconds: (decision.timingsMs?.total ?? 0) / 1000, saved };
    if (saved) deps.metrics.createEnded({ backend: completed.volume.backend, outcome, bypassReason }, took);
  }
  const others = missedIds.filter((volumeId) => !made.has(volumeId));
  for (const [volumeId, row] of await findCompletedOf(deps, others)) made.set(volumeId, row);
  for (const volumeId of others) {
    if (made.has(volumeId)) continue;
    await removeOrphan(deps.database, { volumeId, runId, remove: () => backend.ensureVolumeAbsent(volumeId) });
  }
  return { made, freed };
}

/**
 * @returns the rows of volumes that this workflow has made available: this run, or one before it that a reset has
 * ended.
 */
export async function findCompletedOf(
  deps: ControlDependencies,
  volumeIds: readonly VolumeId[],
): Promise<Map<VolumeId, VolumeRow>> {
  const { workflowId } = workflowExecution();
  const rows = await readVolumes(deps.database, volumeIds);
  return new Map([...rows].filter(([, row]) => row.state === 'available' && row.workflowId === workflowId));
}

/** As `findCompletedOf`, for one volume. */
export async function findCompleted(deps: ControlDependencies, volumeId: VolumeId): Promise<VolumeRow | undefined> {
  return (await findCompletedOf(deps, [volumeId])).get(volumeId);
}

/**
 * Makes volumes' rows this run's where an earlier run of this workflow has them, with which this one goes on: a reset
 * ends a run and lets another begin with its history, the admission included. For a step that has found rows to be of
 * another run. Idempotent.
 * @returns whether a row has become this run's by this call.
 */
export async function goOnAfterReset(deps: ControlDependencies, volumeIds: readonly VolumeId[]): Promise<boolean> {
  const { workflowId, runId } = workflowExecution();
  const rows = [...(await readVolumes(deps.database, volumeIds)).values()];
  const earlier = rows.filter((row) => row.workflowId === workflowId && row.runId !== runId);
  const earlierRunIds: string[] = [];
  for (const earlierRunId of new Set(earlier.map((row) => row.runId)))
    if ((await findLiveRun(deps, { workflowId, runId: earlierRunId })) === runId) earlierRunIds.push(earlierRunId);
  if (earlierRunIds.length === 0) return false;
  return (await takeOverVolumes(deps.database, { volumeIds, earlierRunIds, runId })) > 0;
}

/** Runs `step` on volumes that this run creates, and again where their rows were still those of the run before a reset. */
export async function asOwner<Outcome extends { kind: string }>(
  deps: ControlDependencies,
  volumeIds: readonly VolumeId[],
  step: () => Promise<Outcome>,
): Promise<Outcome> {
  const outcome = await step();
  return outcome.kind === 'not-creating' && (await goOnAfterReset(deps, volumeIds)) ? await step() : outcome;
}

/**
 * @returns what the caller of a create gets, from the row of an available volume.
 * @throws VolumeNotFound when the row was never completed (a bug shown as such).
 */
export function resultOf(
  { id: volumeId, imageId, projectId, backend, placement, name, sizeBytes, outcome, connection }: VolumeRow,
  { reason, bytesDownloaded, timingsMs }: Pick<Story, 'reason' | 'bytesDownloaded' | 'timingsMs'>,
): CreateVolumeResult {
  if (sizeBytes === null || connection === null || outcome === null || outcome === 'refused')
    throw new Failure('VolumeNotFound', { volumeId });
  const made = { volumeId, imageId, projectId, backend, name, sizeBytes, outcome, connection };
  return { ...made, reason: placement === null ? reason : `${reason}; ${placement}`, bytesDownloaded, timingsMs };
}

/** New volumes are sized in whole units of this. */
const SIZE_UNIT_BYTES = MiB;
/**
 * @returns a volume's size once the guest-visible bytes are known.
 * @throws InvalidRequest when the request's size is below them (final).
 */
export function sizeOf(
  { sizeBytes, minDiskBytes }: Pick<Admission, 'sizeBytes' | 'minDiskBytes'>,
  virtualBytes: number,
): number {
  if (sizeBytes === null) return roundUpTo(Math.max(virtualBytes, minDiskBytes), SIZE_UNIT_BYTES);
  if (sizeBytes >= virtualBytes) return sizeBytes;
  throw new Failure('InvalidRequest', {
    field: 'sizeBytes',
    value: String(sizeBytes),
    allowed: `at least ${virtualBytes}, the image's virtual size as its bytes say`,
  });
}

/**
 * Of an image whose record has no virtual size: the volume counts with its size from now on. For a step that makes it,
 * before it does. Idempotent.
 * @throws QuotaExceeded, InvalidRequest (final).
 */
export async function takeSize(
  deps: ControlDependencies,
  { volumeId, admission }: { volumeId: VolumeId; admission: Admission },
  virtualBytes: number,
): Promise<void> {
  const sizeBytes = sizeOf(admission, virtualBytes);
  if (admission.sizeBytes !== null) return;
  const { runId } = workflowExecution();
  const exceeded = await holdSize(deps.database, { volumeId, runId, sizeBytes });
  if (exceeded !== undefined) throw new Failure('QuotaExceeded', { projectId: admission.projectId, ...exceeded });
}

/**
 * @returns what is written beside the volume on the backend, so that its row can be made again.
 * @throws as `sizeOf`.
 */
export function markerOf(
  deps: ControlDependencies,
  { volumeId, admission }: { volumeId: VolumeId; admission: Admission },
  virtualBytes: number,
): VolumeMarker {
  const { projectId, name, cacheKey } = admission;
  const sizeBytes = sizeOf(admission, virtualBytes);
  return { kind: 'volume', installation: deps.installation, volumeId, projectId, name, sizeBytes, cacheKey };
}
