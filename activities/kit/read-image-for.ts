import { setTimeout as delay } from 'node:timers/promises';
import { Failure, isFailure } from '../../workflows/contract/failures';
import type { ProjectId } from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';
import type { ControlDependencies } from '../dependencies';
import { isForMembers, rightTo } from '../glance/image-rights';

/** A refusal comes at a multiple of this: the image service itself may be slower with what is there. */
const REFUSAL_STEP_MS = 250;

/**
 * Reads an image's record for a project: with an identity our account sees more than the project may, so its rights are worked out from what is there
 * at this moment. Without one the image service answers for itself.
 * @throws ImageNotFound, one and the same for what is not there and for what the project may not see (final); ImageServiceUnavailable (retried).
 */
export async function readImageFor(
  deps: Pick<ControlDependencies, 'images'> & { config: Pick<ControlDependencies['config'], 'identity'> },
  { imageId, projectId, signal }: { imageId: string; projectId: ProjectId; signal?: AbortSignal },
): Promise<Image> {
  if (deps.config.identity === undefined) return await deps.images.getImage(imageId, signal);
  const startedAtMs = performance.now();
  try {
    return await readPermitted(deps, { imageId, projectId, signal });
  } catch (error) {
    if (!isFailure(error, 'ImageNotFound')) throw error;
    const elapsedMs = performance.now() - startedAtMs;
    await delay(REFUSAL_STEP_MS - (elapsedMs % REFUSAL_STEP_MS), undefined, { signal });
    throw new Failure('ImageNotFound', { imageId });
  }
}

async function readPermitted(
  { images }: Pick<ControlDependencies, 'images'>,
  { imageId, projectId, signal }: { imageId: string; projectId: ProjectId; signal?: AbortSignal },
): Promise<Image> {
  const image = await unlessNotFound(images.getImage(imageId, signal));
  const isOfMembers = image !== undefined && isForMembers(image, projectId);
  if (image !== undefined && !isOfMembers && rightTo(image, projectId, []) !== 'none') return image;
  // Requested also for an absent image, and for a private one: every refusal costs the same requests.
  const members = (await unlessNotFound(images.listMembers(imageId, signal))) ?? [];
  if (image === undefined || rightTo(image, projectId, members) === 'none')
    throw new Failure('ImageNotFound', { imageId });
  return image;
}

async function unlessNotFound<Result>(asked: Promise<Result>): Promise<Result | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isFailure(error, 'ImageNotFound')) return undefined;
    throw error;
  }
}
