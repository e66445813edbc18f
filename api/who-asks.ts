import type { FastifyRequest } from 'fastify';
import { reachOf } from './caller';

/** @returns whose resources a request reaches, who asks and by which request, for the inventory's events. */
export function whoAsks({ caller, id }: FastifyRequest) {
  return { projectId: reachOf(caller), by: caller.userId, requestId: id };
}
