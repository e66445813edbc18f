import { noteImageRecorded } from '../../db/held-uploads';
import { Failure, isFailure } from '../../workflows/contract/failures';
import type { Image } from '../../workflows/contract/image';
import type { UploadedImage, UploadPlan } from '../../workflows/contract/upload';
import type { ControlDependencies } from '../dependencies';
import { isRunning, workflowExecution } from '../kit/runs';
import { MAKER, VOLUME_PROPERTY } from '../kit/uploaded-image';

export type EnsuredRecord =
  | { kind: 'queued' }
  /** By an earlier run. */
  | { kind: 'uploaded'; image: UploadedImage };

/**
 * Makes the image's record, of the volume's project and without bytes. Idempotent: the id was chosen before. Undo:
 * `removeUnfilledImage`.
 * @throws InvalidRequest: an image of the id is there or was, or the service refuses the values (final);
 * ImageServiceUnavailable (retried).
 */
export function createEnsureImageRecord(deps: ControlDependencies) {
  return async function ensureImageRecord(plan: UploadPlan): Promise<EnsuredRecord> {
    const image = await makeRecord(deps, plan);
    if (plan.isHeld === true) await noteImageRecorded(deps.database, plan);
    if (image.status === 'active') return { kind: 'uploaded', image: storedBytesOf(image) };
    await removeAfterEnd(deps, plan);
    return { kind: 'queued' };
  };
}

async function makeRecord({ images }: ControlDependencies, plan: UploadPlan): Promise<Image> {
  const { volumeId, imageId, projectId, record, isProtected } = plan;
  const properties = { ...record.properties, ...MAKER, [VOLUME_PROPERTY]: volumeId };
  try {
    return await images.createImage({ ...record, id: imageId, owner: projectId, isProtected, properties });
  } catch (error) {
    if (!isFailure(error, 'InvalidRequest') || error.details.field !== 'imageId') throw error;
    const found = await findImage({ images }, plan);
    if (found !== undefined && isOurs(found, plan)) return found;
    // The id is another image's, or was one's: Glance never gives one twice. Else the service's own words tell why.
    throw error;
  }
}

/** A try that was given up and comes late may find its run ended: nobody else would remove the record then. */
async function removeAfterEnd(deps: ControlDependencies, plan: UploadPlan): Promise<void> {
  const { workflowId } = workflowExecution();
  if (!(await isRunning(deps, { workflowId }))) await removeUnfilled(deps, plan);
}

/** Removes the image unless it has its bytes; one that is not ours stays, the absent is done. Idempotent. @throws ImageServiceUnavailable (retried). */
export function createRemoveUnfilledImage(deps: ControlDependencies) {
  return async function removeUnfilledImage(plan: UploadPlan): Promise<void> {
    await removeUnfilled(deps, plan);
  };
}

async function removeUnfilled(deps: ControlDependencies, plan: UploadPlan): Promise<void> {
  const image = await findImage(deps, plan);
  if (image === undefined || !isOurs(image, plan) || !isUnfilled(image)) return;
  if (image.protected) await unlessGone(deps.images.setProtected(plan.imageId, false));
  await unlessGone(deps.images.deleteImage(plan.imageId));
}

function isOurs({ owner, properties }: Image, { volumeId, projectId }: UploadPlan): boolean {
  return owner === projectId && properties[VOLUME_PROPERTY] === volumeId;
}

function isUnfilled({ status }: Image): boolean {
  return status === 'queued' || status === 'saving';
}

async function findImage(
  { images }: Pick<ControlDependencies, 'images'>,
  { imageId }: UploadPlan,
): Promise<Image | undefined> {
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

/** @throws ImageNotUploaded where the record does not say what it holds (final). */
export function storedBytesOf({ id: imageId, sizeBytes, hashAlgorithm, hashValue, checksum }: Image): UploadedImage {
  const value = hashValue ?? checksum;
  if (sizeBytes === null || value === null)
    throw new Failure('ImageNotUploaded', { imageId, cause: 'its record says nothing of its bytes' });
  return {
    imageBytes: sizeBytes,
    hashAlgorithm: hashValue === null ? 'md5' : (hashAlgorithm ?? 'sha512'),
    hashValue: value,
  };
}
