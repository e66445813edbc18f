import { completeVolume, removeOrphan } from '../../db/volumes';
import { Failure } from '../../workflows/contract/failures';
import type { VolumeId } from '../../workflows/contract/ids';
import type { FreedEntry, Story } from '../../workflows/contract/population';
import type { Connection, CreateVolumeResult } from '../../workflows/contract/volume';
import type { VolumeBackend } from '../backends/backend';
import type { ControlDependencies } from '../dependencies';
import { findCompleted, goOnAfterReset } from './own-volume';
import { resultOf } from './volume-result';
import { workflowExecution } from './workflow-execution';

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
 * `creating` -> `available` by compare-and-set, with the decision record. When the row is no longer `creating` (deleted meanwhile, or this attempt
 * was given up), what was made is removed: a late effect leaves nothing behind.
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
  const make = () => completeVolume(deps.database, { volumeId, runId, sizeBytes, connection, outcome, decision });
  let completed = await make();
  if (completed.kind === 'not-creating' && (await goOnAfterReset(deps, volumeId))) completed = await make();
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
