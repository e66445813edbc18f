import type { Client } from '@temporalio/client';
import type { Progress } from '../activities/progress';
import { workflowTypes } from '../workflows/contract/names';
import type { ImageVolumeCache } from './connection';
import { toImageVolumeCacheError } from './errors';
import { findWork } from './progress';

/** A population that runs, as Temporal shows it. */
export interface Flight {
  workflowId: string;
  backend: string;
  shortKey: string;
  startedAt: string;
  /** What its running activity said last. */
  work: Progress | null;
}

/** Flights that a list shows at most; each costs a request. */
const MAX_FLIGHTS = 50;

/** @returns the running populations of this stack, from Temporal alone. @throws ImageVolumeCacheError `TemporalUnavailable` */
export async function listFlights(cache: ImageVolumeCache): Promise<Flight[]> {
  try {
    const client = await cache.temporal();
    const running = `WorkflowType = '${workflowTypes.populateImageCache}' AND ExecutionStatus = 'Running' AND TaskQueue = '${cache.queues.control}'`;
    const found: { workflowId: string; startTime: Date }[] = [];
    for await (const execution of client.workflow.list({ query: running, pageSize: MAX_FLIGHTS })) {
      found.push(execution);
      if (found.length === MAX_FLIGHTS) break;
    }
    return await Promise.all(found.map((execution) => describe(client, execution)));
  } catch (error) {
    throw toImageVolumeCacheError(error, { temporal: cache.settings.address ?? '' });
  }
}

async function describe(
  client: Client,
  { workflowId, startTime }: { workflowId: string; startTime: Date },
): Promise<Flight> {
  const [, backend = '', shortKey = ''] = workflowId.split('/');
  return {
    workflowId,
    backend,
    shortKey,
    startedAt: startTime.toISOString(),
    work: (await findWork(client, workflowId)) ?? null,
  };
}
