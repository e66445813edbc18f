import { findVolume } from '../../db/volumes';
import { MiB, roundUpTo } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import type { VolumeId } from '../../workflows/contract/ids';
import type { FreedEntry, Story, Admission } from '../../workflows/contract/population';
import type { Connection, CreateVolumeResult } from '../../workflows/contract/volume';
import type { VolumeBackend, VolumeMarker } from '../backends/backend';
import type { ControlDependencies } from '../dependencies';
import { findLiveRun, workflowExecution } from './runs';
import { completeVolume, removeOrphan, takeOverVolume } from '../../db/creates';
import { type VolumeRow } from '../../db/schema';

/** `freedEntry`: a parent that was retired meanwhile and that this clone does not need. */
interface Completed {
  result: CreateVolumeResult;
  freedEntry?: FreedEntry;
}

interface Completion {
  volumeId: VolumeId;
  story: Story;
  sizeBytes: number;
  connection: Connection;
  backend: VolumeBackend;
  /** When the activity began, by this process's monotonic clock. */
  stepStartedAtMs: number;
}

/**
 * `creating` -> `available` by compare-and-set, with the decision record. When the row is no longer `creating` (deleted
 * meanwhile, or this attempt was given up), what was made is removed: a late effect leaves nothing behind.
 */
export async function complete(
  deps: ControlDependencies,
  { volumeId, story, sizeBytes, connection, backend, stepStartedAtMs }: Completion,
): Promise<Completed> {
  const stepMs = performance.now() - stepStartedAtMs;
  story.timingsMs.total = Math.round((story.elapsedMs ?? story.timingsMs.admit ?? 0) + stepMs);
  const { outcome, reason, bytesDownloaded, timingsMs } = story;
  const { runId } = workflowExecution();
  const decision = { reason, bytesDownloaded, timingsMs };
  const completed = await asOwner(deps, volumeId, () =>
    completeVolume(deps.database, { volumeId, runId, sizeBytes, connection, outcome, decision }),
  );
  if (completed.kind === 'completed') {
    const { backend: name } = completed.volume;
    const { bypassReason } = story;
    if (completed.saved) deps.metrics.createEnded({ backend: name, outcome, bypassReason }, completed.saved);
    return { result: resultOf(completed.volume, story), freedEntry: completed.freedEntry };
  }
  const row = await findCompleted(deps, volumeId);
  if (row !== undefined) return { result: resultOf(row, story) };
  await removeOrphan(deps.database, { volumeId, runId, remove: () => backend.ensureVolumeAbsent(volumeId) });
  throw new Failure('CreateCancelled', { volumeId });
}

/**
 * @returns the volume's row when this workflow has made it available: this run, or one before it that a reset has
 * ended.
 */
export async function findCompleted(deps: ControlDependencies, volumeId: VolumeId): Promise<VolumeRow | undefined> {
  const row = await findVolume(deps.database, { volumeId });
  return row?.state === 'available' && row.workflowId === workflowExecution().workflowId ? row : undefined;
}

/**
 * Makes a volume's row this run's where an earlier run of this workflow has it, with which this one goes on: a reset
 * ends a run and lets another begin with its history, the admission included. For a step that has found the row to be
 * of another run. Idempotent.
 * @returns whether the row has become this run's by this call.
 */
export async function goOnAfterReset(deps: ControlDependencies, volumeId: VolumeId): Promise<boolean> {
  const { workflowId, runId } = workflowExecution();
  const row = await findVolume(deps.database, { volumeId });
  if (row === undefined || row.workflowId !== workflowId || row.runId === runId) return false;
  if ((await findLiveRun(deps, row)) !== runId) return false;
  return await takeOverVolume(deps.database, { volumeId, earlierRunId: row.runId, runId });
}

/** Runs `step` on a volume that this run creates, and again where its row was still that of the run before a reset. */
export async function asOwner<Outcome extends { kind: string }>(
  deps: ControlDependencies,
  volumeId: VolumeId,
  step: () => Promise<Outcome>,
): Promise<Outcome> {
  const outcome = await step();
  return outcome.kind === 'not-creating' && (await goOnAfterReset(deps, volumeId)) ? await step() : outcome;
}

/**
 * @returns what the caller of a create gets, from the row of an available volume.
 * @throws VolumeNotFound when the row was never completed (a bug shown as such).
 */
export function resultOf(
  { id: volumeId, imageId, projectId, backend, name, sizeBytes, outcome, connection }: VolumeRow,
  { reason, bytesDownloaded, timingsMs }: Pick<Story, 'reason' | 'bytesDownloaded' | 'timingsMs'>,
): CreateVolumeResult {
  if (sizeBytes === null || connection === null || outcome === null || outcome === 'refused')
    throw new Failure('VolumeNotFound', { volumeId });
  const made = { volumeId, imageId, projectId, backend, name, sizeBytes, outcome, connection };
  return { ...made, reason, bytesDownloaded, timingsMs };
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
