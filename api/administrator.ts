import type { FastifyRequest } from 'fastify';
import { isAdmin } from './caller';
import { ApiError } from './errors';

/** @param rule Cinder's name of it. @throws ApiError 403 */
export function expectAdministrator({ caller }: Pick<FastifyRequest, 'caller'>, rule: string): void {
  if (!isAdmin(caller)) throw new ApiError(403, `Policy doesn't allow ${rule} to be performed.`);
}

/** Requires an administrator, or a caller of the project. @throws ApiError 403 */
export function expectOwner({ caller }: Pick<FastifyRequest, 'caller'>, rule: string, projectId: string): void {
  if (caller.projectId !== projectId) expectAdministrator({ caller }, rule);
}
