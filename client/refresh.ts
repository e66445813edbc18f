import { randomUUID } from 'node:crypto';
import { workflowTypes } from '../workflows/contract/names';
import type { RefreshInput, RefreshResult } from '../workflows/contract/refresh';
import type { ImageVolumeCache } from './connection';
import { runWorkflow, type Ran, type RunOptions } from './run-workflow';

/**
 * Asks the image service about every image behind an entry and looks at every follow, as the schedule does every night; or only about what `input` names.
 * A whole refresh that runs is joined. @throws ImageVolumeCacheError `InvalidRequest`, `FollowNotFound`, `TemporalUnavailable`, `WaitInterrupted`.
 */
export async function refreshCache<Options extends RunOptions>(
  cache: ImageVolumeCache,
  input: Pick<RefreshInput, 'imageIds' | 'follow' | 'backend'>,
  options: Options,
): Promise<Ran<RefreshResult, Options>> {
  const isWhole = input.imageIds === undefined && input.follow === undefined && input.backend === undefined;
  const request = {
    type: workflowTypes.refreshImageCache,
    workflowId: isWhole ? cache.queues.refresh : `${cache.queues.refresh}/${randomUUID()}`,
    conflict: 'USE_EXISTING',
    input,
    summary: isWhole ? 'refresh the cache' : 'refresh a part of the cache',
  } as const;
  return await runWorkflow<RefreshResult, Options>(cache, request, { options });
}
