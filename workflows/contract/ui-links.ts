/** Paths of the Temporal UI: links in Markdown that it shows itself, so they need no host. */

/** @returns where the UI shows a workflow: its newest run, or one run's tab. */
export function workflowPath(
  namespace: string,
  workflowId: string,
  tab?: { runId: string; name: 'pending-activities' },
): string {
  const path = `${namespacePath(namespace)}/workflows/${encodeURIComponent(workflowId)}`;
  return tab === undefined ? path : `${path}/${tab.runId}/${tab.name}`;
}

/** @returns where the UI lists the workflows that a visibility query finds. */
export function workflowsPath(namespace: string, query: string): string {
  return `${namespacePath(namespace)}/workflows?query=${encodeURIComponent(query)}`;
}

function namespacePath(namespace: string): string {
  return `/namespaces/${encodeURIComponent(namespace)}`;
}
