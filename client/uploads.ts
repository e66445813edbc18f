import { randomUUID } from 'node:crypto';
import type { ImageId, VolumeId } from '../workflows/contract/ids';
import { workflowTypes } from '../workflows/contract/names';
import type { SeedInput, SeedResult, UploadVolumeInput, UploadVolumeResult } from '../workflows/contract/upload';
import type { ImageVolumeCache } from './connection';
import { checkUuid } from './object-ids';
import { watchWork, type CreateReport } from './progress';
import { checkProjectId } from './project-id';
import { runWorkflow, type Ran, type RunOptions, type StartedRun } from './run-workflow';

/** As the workflow takes it. `imageId`: sent again with the same one it is the same image. */
export type UploadRequest = UploadVolumeInput & { volumeId: string };

export interface VolumeUploadOptions extends RunOptions {
  /** Called a few times a second at most, when something has changed. */
  onProgress?: (report: CreateReport) => void;
}

export type StartedUpload = { volumeId: VolumeId; imageId: ImageId };

/**
 * Uploads an available volume, as it is at one moment, to an image of its project, and waits until that is active.
 * @throws ImageVolumeCacheError `InvalidRequest`, `VolumeNotFound`, `VolumeInUse`, `ImageNotUploaded`; `WaitInterrupted` when `signal` is aborted: the
 * upload goes on.
 */
export async function uploadVolume<Options extends VolumeUploadOptions>(
  cache: ImageVolumeCache,
  { volumeId, imageId = randomUUID(), ...input }: UploadRequest,
  options: Options,
): Promise<Ran<UploadVolumeResult, Options> & StartedUpload> {
  const ids = {
    volumeId: checkUuid('volumeId', volumeId) as VolumeId,
    imageId: checkUuid('imageId', imageId) as ImageId,
  };
  if (input.projectId !== undefined) checkProjectId(input.projectId);
  const request = {
    type: workflowTypes.uploadVolumeToImage,
    workflowId: cache.queues.ids.upload(ids.volumeId, ids.imageId, input.projectId),
    conflict: 'USE_EXISTING',
    input: { ...input, ...ids },
    summary: `upload volume ${volumeId} to image ${imageId}`,
  } as const;
  const watch = watchOf(cache, options, 'uploading');
  return { ...(await runWorkflow<UploadVolumeResult, Options>(cache, request, { options, watch })), ...ids };
}

/**
 * Makes a copy of a volume, which must hold exactly the image's bytes, the parent of the image's clones on the volume's backend, and waits until it is.
 * @throws ImageVolumeCacheError `InvalidRequest` (it holds something else), `ImageUnsupported` (of this format nobody can tell), `VolumeNotFound`,
 * `ImageNotFound`, `VolumeInUse`, `WaitInterrupted`. Undo: eviction.
 */
export async function seedCache<Options extends VolumeUploadOptions>(
  cache: ImageVolumeCache,
  input: SeedInput,
  options: Options,
): Promise<Ran<SeedResult, Options>> {
  const volumeId = checkUuid('volumeId', input.volumeId) as VolumeId;
  const imageId = checkUuid('imageId', input.imageId) as ImageId;
  const request = {
    type: workflowTypes.seedImageCache,
    workflowId: cache.queues.ids.seed(volumeId, imageId),
    conflict: 'USE_EXISTING',
    input: { ...input, volumeId, imageId },
    summary: `cache image ${imageId} from volume ${volumeId}`,
  } as const;
  return await runWorkflow<SeedResult, Options>(cache, request, {
    options,
    watch: watchOf(cache, options, 'comparing'),
  });
}

/** @param stage while no activity has said anything. */
export function watchOf(cache: ImageVolumeCache, { onProgress }: VolumeUploadOptions, stage: string) {
  if (onProgress === undefined) return undefined;
  return async (run: StartedRun) => watchWork(await cache.temporal(), { ...run, stage, onProgress });
}
