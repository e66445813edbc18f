import { findVolume, goOnWithVolume } from '../../db/volumes';
import type { VolumeRow } from '../../db/types';
import type { VolumeId } from '../../workflows/contract/ids';
import type { ControlDependencies } from '../dependencies';
import { findLiveRun } from './is-running';
import { workflowExecution } from './workflow-execution';

/** @returns the volume's row when this workflow has made it available: this run, or one before it that a reset has ended. */
export async function findCompleted(deps: ControlDependencies, volumeId: VolumeId): Promise<VolumeRow | undefined> {
  const row = await findVolume(deps.database, { volumeId });
  return row?.state === 'available' && row.workflowId === workflowExecution().workflowId ? row : undefined;
}

/**
 * Makes a volume's row this run's where an earlier run of this workflow has it, with which this one goes on: a reset ends a run and lets another begin
 * with its history, the admission included. For a step that has found the row to be of another run. Idempotent.
 * @returns whether the row has become this run's by this call.
 */
export async function goOnAfterReset(deps: ControlDependencies, volumeId: VolumeId): Promise<boolean> {
  const { workflowId, runId } = workflowExecution();
  const row = await findVolume(deps.database, { volumeId });
  if (row === undefined || row.workflowId !== workflowId || row.runId === runId) return false;
  if ((await findLiveRun(deps, row)) !== runId) return false;
  return await goOnWithVolume(deps.database, { volumeId, earlierRunId: row.runId, runId });
}
