import { WorkflowNotFoundError } from '@temporalio/client';
import type { ControlDependencies } from '../dependencies';

/** @returns whether a run of this workflow is open; one that is past the namespace's retention is not. */
export async function isRunning(deps: Pick<ControlDependencies, 'temporal'>, workflowId: string): Promise<boolean> {
  return (await findEnding(deps, workflowId)) === 'running';
}

/** `unknown`: past the namespace's retention, or never there. `failed`: ended in any other way, so that nobody got a result. */
export type Ending = 'running' | 'completed' | 'failed' | 'unknown';

/** @returns how the latest run of this workflow has ended. */
export async function findEnding(
  { temporal }: Pick<ControlDependencies, 'temporal'>,
  workflowId: string,
): Promise<Ending> {
  try {
    const { name } = (await temporal.workflow.getHandle(workflowId).describe()).status;
    if (name === 'RUNNING') return 'running';
    return name === 'COMPLETED' ? 'completed' : 'failed';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return 'unknown';
    throw error;
  }
}
