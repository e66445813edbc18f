import { WorkflowNotFoundError } from '@temporalio/client';
import type { ControlDependencies } from '../dependencies';

/** @returns whether a run of this workflow is open; one that is past the namespace's retention is not. */
export async function isRunning(
  { temporal }: Pick<ControlDependencies, 'temporal'>,
  workflowId: string,
): Promise<boolean> {
  try {
    return (await temporal.workflow.getHandle(workflowId).describe()).status.name === 'RUNNING';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}
