import { WorkflowNotFoundError, type WorkflowExecutionDescription } from '@temporalio/client';
import { isOpenRun } from '../workflows/contract/run-status';
import type { ControlDependencies } from './dependencies';

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

/** `unknown`: past the namespace's retention, or never there. `failed`: ended in any other way, so that nobody got a result. */
export type Ending = 'running' | 'completed' | 'failed' | 'unknown';

/** @returns how the run has ended, and when. */
export async function findEnding(deps: Deps, run: RunOf): Promise<{ ending: Ending; closedAt?: Date }> {
  const found = await findRun(deps, run);
  if (found === undefined) return { ending: 'unknown' };
  const { status, closeTime: closedAt } = found;
  if (isOpenRun(status.name)) return { ending: 'running' };
  return { ending: status.name === 'COMPLETED' ? 'completed' : 'failed', closedAt };
}

/** @returns the run as the server describes it; undefined for one that is past the namespace's retention, or was never there. */
export async function findRun(
  { temporal }: Deps,
  { workflowId, runId }: RunOf,
): Promise<WorkflowExecutionDescription | undefined> {
  try {
    return await temporal.workflow.getHandle(workflowId, runId).describe();
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}
