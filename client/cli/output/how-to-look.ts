/** @returns what to type when nobody waits for a workflow any more. */
export function howToLook(workflowId: string): string {
  const [verb = '', volumeId = ''] = workflowId.split('/');
  if (verb !== 'volume' && verb !== 'delete')
    return `Look at it with \`temporal workflow describe --workflow-id ${workflowId}\`, or in the Temporal UI.`;
  const look = `Look at it with \`ivc volume show ${volumeId}\``;
  if (verb !== 'volume') return `${look}.`;
  return `${look}; wait for it with the same command and \`--volume-id ${volumeId}\`.`;
}
