import type { FastifyRequest } from 'fastify';
import { reachOf } from './caller';

/** @returns whose resources a request reaches, its caller and its id, for the inventory's events. */
export function requesterOf({ caller, id }: FastifyRequest) {
  return { projectId: reachOf(caller), by: caller.userId, requestId: id };
}
