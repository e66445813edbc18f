import { workflowInfo } from '@temporalio/workflow';

/** @returns a Markdown link to another workflow of this namespace, as the Temporal UI opens it. */
export function workflowLink(workflowId: string): string {
  return `[${workflowId}](/namespaces/${encodeURIComponent(workflowInfo().namespace)}/workflows/${encodeURIComponent(workflowId)})`;
}
