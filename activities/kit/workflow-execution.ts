import { activityInfo } from '@temporalio/activity';

/** The run that this activity belongs to. */
export function workflowExecution(): { workflowId: string; runId: string } {
  const { workflowExecution: execution } = activityInfo();
  if (execution === undefined) throw new Error('this activity runs in a workflow only');
  return execution;
}
