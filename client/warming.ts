import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { z } from 'zod';
import type { Progress } from '../activities/progress';
import { workflowTypes } from '../workflows/contract/names';
import type { WarmInput, WarmResult } from '../workflows/contract/refresh';
import type { ImageVolumeCache } from './connection';
import { findWork, watching } from './progress';
import { runWorkflow, type Ran, type RunOptions, type StartedRun } from './run-workflow';

/** How far a warming is. */
export interface WarmReport {
  total: number;
  done: { imageId: string; backend: string; outcome: string; summary: string }[];
  running: {
    imageId: string;
    backend: string;
    flightWorkflowId: string | null;
    /** What the population that is waited for said last. */
    work?: Progress;
  }[];
}

export interface WarmOptions extends RunOptions {
  /** Called a few times a second at most, when something has changed. */
  onProgress?: (report: WarmReport) => void;
}

/**
 * Populates the cache with images before anybody asks, each on each backend. A pair that fails is an outcome of the result, not an error.
 * @throws ImageVolumeCacheError `InvalidRequest`, `TemporalUnavailable`, `WaitInterrupted`. Undo: eviction.
 */
export async function warmCache<Options extends WarmOptions>(
  cache: ImageVolumeCache,
  input: WarmInput,
  options: Options,
): Promise<Ran<WarmResult, Options>> {
  const { onProgress } = options;
  const client = await cache.temporal();
  const request = {
    type: workflowTypes.warmImageCache,
    workflowId: cache.queues.ids.warm(randomUUID()),
    conflict: 'FAIL',
    input,
    summary: `warm ${input.imageIds.length === 1 ? `image ${input.imageIds[0]}` : `${input.imageIds.length} images`}`,
  } as const;
  const watch = async (run: StartedRun) => watching(client, { look: () => lookAtWarming(client, run), onProgress });
  return await runWorkflow<WarmResult, Options>(cache, request, { options, watch: onProgress && watch });
}

const warmProgressSchema = z.looseObject({
  total: z.number(),
  done: z.array(z.looseObject({ imageId: z.string(), backend: z.string(), outcome: z.string(), summary: z.string() })),
  running: z.array(
    z.looseObject({ imageId: z.string(), backend: z.string(), flightWorkflowId: z.string().nullable() }),
  ),
});

async function lookAtWarming(client: Client, { workflowId, runId }: StartedRun): Promise<WarmReport> {
  const answer: unknown = await client.workflow.getHandle(workflowId, runId).query('progress');
  const { total, done, running } = warmProgressSchema.parse(answer);
  const withWork = running.map(async (pair) => {
    const work = pair.flightWorkflowId === null ? undefined : await findWork(client, pair.flightWorkflowId);
    return { ...pair, ...(work && { work }) };
  });
  return { total, done, running: await Promise.all(withWork) };
}
