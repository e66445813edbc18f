import type { FastifyRequest } from 'fastify';
import { ApiError } from './errors';

/** Roles that change what is their project's; services act on a user's behalf. Administrators may all. */
const WRITERS = new Set(['admin', 'member', 'service']);
const READERS = new Set([...WRITERS, 'reader']);

/** Cinder's names of what each resource lets a caller do, in the order of POST, PUT and DELETE. Source: `cinder.policies`. */
const rules: Record<string, readonly [string, string, string]> = {
  volumes: ['volume:create', 'volume:update', 'volume:delete'],
  'volumes/metadata': [
    'volume:create_volume_metadata',
    'volume:update_volume_metadata',
    'volume:delete_volume_metadata',
  ],
  snapshots: ['volume:create_snapshot', 'volume:update_snapshot', 'volume:delete_snapshot'],
  'snapshots/metadata': [
    'volume:update_snapshot_metadata',
    'volume:update_snapshot_metadata',
    'volume:delete_snapshot_metadata',
  ],
  attachments: ['volume:attachment_create', 'volume:attachment_update', 'volume:attachment_delete'],
  'volume-transfers': ['volume:create_transfer', 'volume:update_transfer', 'volume:delete_transfer'],
  'os-volume-transfer': ['volume:create_transfer', 'volume:update_transfer', 'volume:delete_transfer'],
  messages: ['message:create', 'message:update', 'message:delete'],
};

/** Refuses a caller without a role to read, or to write. Each route checks rights to a resource, and those of administrators alone. @throws ApiError 403 */
export function checkRoles(request: FastifyRequest): void {
  const reads = request.method === 'GET' || request.method === 'HEAD';
  const allowed = reads ? READERS : WRITERS;
  if (!request.caller.roles.some((role) => allowed.has(role)))
    throw new ApiError(403, `Policy doesn't allow ${ruleOf(request)} to be performed.`);
}

function ruleOf({ method, routeOptions, body }: FastifyRequest): string {
  const segments = (routeOptions.url ?? '').split('/').slice(3);
  const resource = segments.filter((segment) => segment !== '' && !segment.startsWith(':')).join('/');
  if (method === 'GET' || method === 'HEAD') return 'volume:get_all';
  if (resource.endsWith('/action')) return `volume:${actionOf(body)}`;
  const [post, put, remove] = rules[resource] ?? [];
  return { POST: post, PUT: put, DELETE: remove }[method] ?? `${resource}:${method.toLowerCase()}`;
}

/** `extend` for a body of `os-extend`. */
function actionOf(body: unknown): string {
  const [action = 'action'] = body !== null && typeof body === 'object' ? Object.keys(body) : [];
  return action.replace(/^os-/, '').replaceAll('-', '_').slice(0, 64);
}
