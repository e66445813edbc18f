import type { BackendName } from '../workflows/contract/ids';
import { workflowTypes } from '../workflows/contract/names';
import type { FollowInput, FollowOutcome, UnfollowInput, UnfollowResult } from '../workflows/contract/refresh';
import type { ImageVolumeCache } from './connection';
import type { Follow } from './records';
import { runWorkflow, type Ran, type RunOptions } from './run-workflow';

/**
 * Keeps the newest active image that matches populated on a backend, from now on, and looks for it at once. The follow of the same name is changed;
 * a run that still looks for what it meant before is ended.
 * @throws ImageVolumeCacheError `InvalidRequest`, `TemporalUnavailable`, `WaitInterrupted`. Undo: `unfollowImage`.
 */
export async function followImage<Options extends RunOptions>(
  cache: ImageVolumeCache,
  input: FollowInput,
  options: Options,
): Promise<Ran<FollowOutcome, Options>> {
  const backend = backendOf(cache, input);
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

/** Ends a follow; what was cached for it stays. The absent is done. @throws ImageVolumeCacheError `InvalidRequest`, `TemporalUnavailable` */
export async function unfollowImage(
  cache: ImageVolumeCache,
  input: UnfollowInput,
  options: Pick<RunOptions, 'signal'> = {},
): Promise<UnfollowResult> {
  const backend = backendOf(cache, input);
  const request = {
    type: workflowTypes.unfollowImage,
    workflowId: cache.queues.ids.follow(backend, input.name),
    conflict: 'TERMINATE_EXISTING',
    input: { ...input, backend },
    summary: `unfollow ${input.name} on ${backend}`,
  } as const;
  const { signal } = options;
  const { result } = await runWorkflow<UnfollowResult, { wait: true; signal?: AbortSignal }>(cache, request, {
    options: { wait: true, signal },
  });
  return result;
}

/** @returns follows in the order of backends and names. @throws ImageVolumeCacheError `DatabaseUnavailable`, `NotConfigured` */
export async function listFollows(cache: ImageVolumeCache, filter: { backend?: string } = {}): Promise<Follow[]> {
  return await (await cache.inventory()).listFollows(filter);
}

function backendOf({ settings }: ImageVolumeCache, { backend }: { backend?: string }): BackendName {
  return (backend ?? settings.loaded.config.defaultBackend) as BackendName;
}
