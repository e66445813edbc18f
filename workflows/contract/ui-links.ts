/** Paths of the Temporal UI: links in Markdown that it shows itself, so they need no host. Nothing in an id ends the link. */

/** @returns where the UI shows a workflow: its newest run, or one run's tab. */
export function workflowPath(
  namespace: string,
  workflowId: string,
  tab?: { runId: string; name: 'pending-activities' },
): string {
  const path = `${namespacePath(namespace)}/workflows/${encode(workflowId)}`;
  return tab === undefined ? path : `${path}/${tab.runId}/${tab.name}`;
}

/** @returns where the UI lists the workflows that a visibility query finds. */
export function workflowsPath(namespace: string, query: string): string {
  return `${namespacePath(namespace)}/workflows?query=${encode(query)}`;
}

function namespacePath(namespace: string): string {
  return `/namespaces/${encode(namespace)}`;
}

/** As `encodeURIComponent`, and parentheses, which would end the link. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[()]/g, (character) => `%${character.charCodeAt(0).toString(16)}`);
}
