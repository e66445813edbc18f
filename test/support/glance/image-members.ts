/** Requests of an image's owner about its members. */
export interface ImageMembers {
  add(imageId: string, projectId: string): Promise<Response>;
  /** Which is the member's own to say. */
  answer(imageId: string, projectId: string, status: string): Promise<Response>;
  remove(imageId: string, projectId: string): Promise<Response>;
}

/** @param headers as a token's, of whoever does it. */
export function createImageMembers(endpoint: string, headers: Record<string, string> = {}): ImageMembers {
  const send = (path: string, method: string, body?: object) =>
    fetch(`${endpoint}/v2/images/${path}`, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      ...(body && { body: JSON.stringify(body) }),
    });
  return {
    add: (imageId, projectId) => send(`${imageId}/members`, 'POST', { member: projectId }),
    answer: (imageId, projectId, status) => send(`${imageId}/members/${projectId}`, 'PUT', { status }),
    remove: (imageId, projectId) => send(`${imageId}/members/${projectId}`, 'DELETE'),
  };
}
