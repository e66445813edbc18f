/** A volume's own workflow, whatever the stack's prefix. */
const ofVolume = /^[a-z0-9-]*(volume|delete)\/([^/]+)$/;

/** @returns what to type when nobody waits for a workflow any more. */
export function howToLook(workflowId: string): string {
  const [, verb, volumeId = ''] = ofVolume.exec(workflowId) ?? [];
  if (verb === undefined)
    return `Look at it with \`temporal workflow describe --workflow-id ${workflowId}\`, or in the Temporal UI.`;
  const look = `Look at it with \`ivc volume show ${volumeId}\``;
  if (verb !== 'volume') return `${look}.`;
  return `${look}; wait for it with the same command and \`--volume-id ${volumeId}\`.`;
}
