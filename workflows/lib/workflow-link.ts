import { workflowInfo } from '@temporalio/workflow';
import { link } from '../contract/markdown';
import { workflowPath } from '../contract/ui-links';

/** @returns a Markdown link to another workflow of this namespace, as the Temporal UI opens it. */
export function workflowLink(workflowId: string): string {
  return link(workflowId, workflowPath(workflowInfo().namespace, workflowId));
}

/** @returns a Markdown link to where the UI shows stage, bytes and rate of this run's work at this moment: its heartbeats. */
export function progressLink(): string {
  const { namespace, workflowId, runId } = workflowInfo();
  return link('Pending Activities', workflowPath(namespace, workflowId, { runId, name: 'pending-activities' }));
}
