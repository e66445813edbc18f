import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { z } from 'zod';
import type { Progress } from '../activities/progress';
import { workflowTypes } from '../workflows/contract/names';
import type {
  FollowInput,
  FollowOutcome,
  RefreshInput,
  RefreshResult,
  UnfollowInput,
  UnfollowResult,
  WarmInput,
  WarmResult,
} from '../workflows/contract/refresh';
import type { ImageVolumeCache } from './connection';
import { findWork, watching } from './progress';
import { backendOf, runWorkflow, type Ran, type RunOptions, type StartedRun } from './run-workflow';

/**
 * Asks the image service about every image behind an entry and looks at every follow, as the schedule does every night;
 * or only about what `input` names.
 * A whole refresh that runs is joined, unless `acceptMissing` says more than it was told. @throws ImageVolumeCacheError
 * `InvalidRequest`, `FollowNotFound`, `TemporalUnavailable`, `WaitInterrupted`.
 */
export async function refreshCache<Options extends RunOptions>(
  cache: ImageVolumeCache,
  input: Pick<RefreshInput, 'imageIds' | 'follow' | 'backend' | 'acceptMissing'>,
  options: Options,
): Promise<Ran<RefreshResult, Options>> {
  // A run that was begun without the operator's word cannot be given it.
  const isWhole = Object.values(input).every((value) => value === undefined);
  const request = {
    type: workflowTypes.refreshImageCache,
    workflowId: isWhole ? cache.queues.ids.refresh : `${cache.queues.ids.refresh}/${randomUUID()}`,
    conflict: 'USE_EXISTING',
    input,
    summary: isWhole ? 'refresh the cache' : 'refresh a part of the cache',
  } as const;
  return await runWorkflow<RefreshResult, Options>(cache, request, { options });
}

/**
 * Keeps the newest active image that matches populated on a backend, from now on, and looks for it at once. The follow
 * of the same name is changed;
 * a run that still looks for what it meant before is ended.
 * @throws ImageVolumeCacheError `InvalidRequest`, `TemporalUnavailable`, `WaitInterrupted`. Undo: `unfollowImage`.
 */
export async function followImage<Options extends RunOptions>(
  cache: ImageVolumeCache,
  input: FollowInput,
  options: Options,
): Promise<Ran<FollowOutcome, Options>> {
  const backend = backendOf(cache, input.backend);
  const name = input.name ?? input.imageName;
  const request = {
    type: workflowTypes.followImage,
    workflowId: cache.queues.ids.follow(backend, name),
    conflict: 'TERMINATE_EXISTING',
    input: { ...input, backend },
    summary: `follow the newest image ${input.imageName} on ${backend}`,
  } as const;
  return await runWorkflow<FollowOutcome, Options>(cache, request, { options });
}

/**
 * Ends a follow; entries cached for it stay. The absent is done. @throws ImageVolumeCacheError `InvalidRequest`,
 * `TemporalUnavailable`
 */
export async function unfollowImage(
  cache: ImageVolumeCache,
  input: UnfollowInput,
  options: Pick<RunOptions, 'signal'> = {},
): Promise<UnfollowResult> {
  const backend = backendOf(cache, input.backend);
  const request = {
    type: workflowTypes.unfollowImage,
    workflowId: cache.queues.ids.follow(backend, input.name),
    conflict: 'TERMINATE_EXISTING',
    input: { ...input, backend },
    summary: `unfollow ${input.name} on ${backend}`,
  } as const;
  const { result } = await runWorkflow<UnfollowResult, typeof options>(cache, request, { options });
  return result;
}

/** Progress of a warming. */
export interface WarmReport {
  total: number;
  done: { imageId: string; backend: string; outcome: string; summary: string }[];
  running: {
    imageId: string;
    backend: string;
    flightWorkflowId: string | null;
    /** The last progress of the population that it waits for. */
    work?: Progress;
  }[];
}

export interface WarmOptions extends RunOptions {
  /** Called a few times a second at most, when something has changed. */
  onProgress?: (report: WarmReport) => void;
}

/**
 * Populates the cache with images before anybody asks, each on each backend. A pair that fails is an outcome of the
 * result, not an error.
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
  const watch = async (run: StartedRun) => watching(client, { read: () => readWarming(client, run), onProgress });
  return await runWorkflow<WarmResult, Options>(cache, request, { options, watch: onProgress && watch });
}

const warmProgressSchema = z.looseObject({
  total: z.number(),
  done: z.array(z.looseObject({ imageId: z.string(), backend: z.string(), outcome: z.string(), summary: z.string() })),
  running: z.array(
    z.looseObject({ imageId: z.string(), backend: z.string(), flightWorkflowId: z.string().nullable() }),
  ),
});

async function readWarming(client: Client, { workflowId, runId }: StartedRun): Promise<WarmReport> {
  const answer: unknown = await client.workflow.getHandle(workflowId, runId).query('progress');
  const { total, done, running } = warmProgressSchema.parse(answer);
  const withWork = running.map(async (pair) => {
    const work = pair.flightWorkflowId === null ? undefined : await findWork(client, pair.flightWorkflowId);
    return { ...pair, ...(work && { work }) };
  });
  return { total, done, running: await Promise.all(withWork) };
}
