import { randomUUID } from 'node:crypto';
import { workflowTypes } from '../workflows/contract/names';
import type { RefreshInput, RefreshResult } from '../workflows/contract/refresh';
import type { ImageVolumeCache } from './connection';
import { runWorkflow, type Ran, type RunOptions } from './run-workflow';

/**
 * Asks the image service about every image behind an entry and looks at every follow, as the schedule does every night; or only about what `input` names.
 * A whole refresh that runs is joined, unless `acceptMissing` says more than it was told. @throws ImageVolumeCacheError `InvalidRequest`, `FollowNotFound`, `TemporalUnavailable`, `WaitInterrupted`.
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
