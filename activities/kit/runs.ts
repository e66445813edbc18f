import { activityInfo } from '@temporalio/activity';
import { WorkflowNotFoundError, type WorkflowExecutionDescription } from '@temporalio/client';
import { unlessThrown } from '../../lib/unless-thrown';
import { isOpenRun } from '../../workflows/contract/run-status';
import type { ControlDependencies } from '../dependencies';

type Deps = Pick<ControlDependencies, 'temporal'>;

export interface RunOf {
  workflowId: string;
  /** Default: the latest run. */
  runId?: string;
}

/** @returns whether the run is open; one that is past the namespace's retention, or was never there, is not. */
export async function isRunning(deps: Deps, run: RunOf): Promise<boolean> {
  return (await findEnding(deps, run)).ending === 'running';
}

/**
 * @returns the open run that does the work of `run`: itself, or the one that goes on with it after a reset; undefined
 * when it is done or dead. A workflow id may be used again for other work: only a run of the same chain goes on with
 * this one's.
 */
export async function findLiveRun(deps: Deps, { workflowId, runId }: Required<RunOf>): Promise<string | undefined> {
  const latest = await findRun(deps, { workflowId });
  if (latest === undefined || !isOpenRun(latest.status.name)) return undefined;
  if (latest.runId === runId) return runId;
  const earlier = await findRun(deps, { workflowId, runId });
  return earlier !== undefined && firstRunIdOf(earlier) === firstRunIdOf(latest) ? latest.runId : undefined;
}

/** The same for all runs of a chain: those that a reset has made keep it. */
function firstRunIdOf({ raw, runId }: WorkflowExecutionDescription): string {
  return raw.workflowExecutionInfo?.firstRunId || runId;
}

/**
 * `unknown`: past the namespace's retention, or never there. `failed`: ended in any other way, so that nobody got a
 * result.
 */
export type Ending = 'running' | 'completed' | 'failed' | 'unknown';

interface Ended {
  ending: Ending;
  closedAt?: Date;
}

/** @returns how the run has ended that made a volume, and when; `running` also where another goes on with it. */
export async function findEndingOfCreate(deps: Deps, run: Required<RunOf>): Promise<Ended> {
  return (await findLiveRun(deps, run)) === undefined ? await findEnding(deps, run) : { ending: 'running' };
}

/** @returns how the run has ended, and when. */
async function findEnding(deps: Deps, run: RunOf): Promise<Ended> {
  const found = await findRun(deps, run);
  if (found === undefined) return { ending: 'unknown' };
  const { status, closeTime: closedAt } = found;
  if (isOpenRun(status.name)) return { ending: 'running' };
  return { ending: status.name === 'COMPLETED' ? 'completed' : 'failed', closedAt };
}

/**
 * @returns the run as the server describes it; undefined for one that is past the namespace's retention, or was never
 * there.
 */
export async function findRun(
  { temporal }: Deps,
  { workflowId, runId }: RunOf,
): Promise<WorkflowExecutionDescription | undefined> {
  return await unlessThrown(WorkflowNotFoundError, temporal.workflow.getHandle(workflowId, runId).describe());
}

/** The run that this activity belongs to. */
export function workflowExecution(): { workflowId: string; runId: string } {
  const { workflowExecution: execution } = activityInfo();
  if (execution === undefined) throw new Error('this activity runs in a workflow only');
  return execution;
}

/**
 * @returns whether a run does nothing more for its row, so that this run may have it. A late try of a run that is dead
 * itself takes nothing over.
 */
export async function isDead(deps: Deps, other: Required<RunOf>): Promise<boolean> {
  const own = workflowExecution();
  const liveRunId = await findLiveRun(deps, other);
  if (liveRunId !== undefined && liveRunId !== own.runId) return false;
  return (await findLiveRun(deps, own)) !== undefined;
}
