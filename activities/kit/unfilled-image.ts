import { isFailure } from '../../workflows/contract/failures';
import type { ImageId, ProjectId, VolumeId } from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';
import type { ImageService } from '../glance/image-service';
import { VOLUME_PROPERTY } from './uploaded-image';

/** An image that is, or was to be, made of a volume. */
interface MadeImage {
  imageId: ImageId;
  volumeId: VolumeId;
  projectId: ProjectId;
}

interface Images {
  images: ImageService;
}

/**
 * Removes the image unless it has its bytes; one that is not ours stays, the absent is done. Idempotent.
 * @returns whether there was one to remove. @throws ImageServiceUnavailable (retried).
 */
export async function removeUnfilledImage({ images }: Images, of: MadeImage): Promise<boolean> {
  const image = await findImage({ images }, of);
  if (image === undefined || !isMadeOf(image, of) || !isUnfilled(image)) return false;
  if (image.protected) await unlessGone(images.setProtected(of.imageId, false));
  await unlessGone(images.deleteImage(of.imageId));
  return true;
}

export function isMadeOf({ owner, properties }: Image, { volumeId, projectId }: Omit<MadeImage, 'imageId'>): boolean {
  return owner === projectId && properties[VOLUME_PROPERTY] === volumeId;
}

function isUnfilled({ status }: Image): boolean {
  return status === 'queued' || status === 'saving';
}

/** @returns undefined where the service shows none. */
export async function findImage({ images }: Images, { imageId }: { imageId: ImageId }): Promise<Image | undefined> {
  return await unlessGone(images.getImage(imageId));
}

async function unlessGone<Found>(work: Promise<Found>): Promise<Found | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isFailure(error, 'ImageNotFound')) return undefined;
    throw error;
  }
}
