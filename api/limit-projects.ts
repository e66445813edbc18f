import type { FastifyInstance } from 'fastify';
import { ApiError } from './errors';

const MINUTE_MS = 60_000;
/** Whose requests are counted at once; beyond, the one whose minute has begun first begins anew. */
const MAX_PROJECTS = 10_000;

interface Minute {
  endsAtMs: number;
  requests: number;
}

/**
 * Answers 429 to a project that has sent more than so many requests within a minute, from then on until that minute ends. To be called after the
 * hook that finds out who asks.
 */
export function limitProjects(app: FastifyInstance, requestsPerMinute: number | 'off'): void {
  if (requestsPerMinute === 'off') return;
  const minutes = new Map<string, Minute>();
  app.addHook('onRequest', async ({ caller: { projectId } }) => {
    const now = performance.now();
    const running = minutes.get(projectId);
    const minute = running !== undefined && running.endsAtMs > now ? running : begin(minutes, projectId, now);
    minute.requests += 1;
    if (minute.requests <= requestsPerMinute) return;
    const headers = { 'retry-after': String(Math.ceil((minute.endsAtMs - now) / 1000)) };
    throw new ApiError(429, `This project has sent ${requestsPerMinute} requests within a minute.`, { headers });
  });
}

function begin(minutes: Map<string, Minute>, projectId: string, now: number): Minute {
  const minute = { endsAtMs: now + MINUTE_MS, requests: 0 };
  // At the end of the map's order, whose first one has begun first.
  minutes.delete(projectId);
  minutes.set(projectId, minute);
  const [first] = minutes.keys();
  if (minutes.size > MAX_PROJECTS && first !== undefined) minutes.delete(first);
  return minute;
}
