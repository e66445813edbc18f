import { noteImageRecorded } from '../../db/held-uploads';
import { Failure, isFailure } from '../../workflows/contract/failures';
import type { Image } from '../../workflows/contract/image';
import type { UploadedImage, UploadPlan } from '../../workflows/contract/upload';
import type { ControlDependencies } from '../dependencies';
import { isRunning, workflowExecution } from '../kit/runs';
import { findImage, isMadeOf, removeUnfilledImage } from '../kit/unfilled-image';
import { MAKER, RUN_PROPERTY, VOLUME_PROPERTY } from '../kit/uploaded-image';

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
    const { visibility } = plan.record;
    if (isForAll(plan.record) && image.status === 'queued' && image.visibility !== visibility)
      await deps.images.setVisibility(image.id, visibility);
    if (plan.isHeld === true) await noteImageRecorded(deps.database, plan);
    if (image.status === 'active') return { kind: 'uploaded', image: storedBytesOf(image) };
    await removeAfterEnd(deps, plan);
    return { kind: 'queued' };
  };
}

function isForAll({ visibility }: UploadPlan['record']): boolean {
  return visibility === 'public' || visibility === 'community';
}

async function makeRecord({ images }: ControlDependencies, plan: UploadPlan): Promise<Image> {
  const { volumeId, imageId, projectId, record, isProtected } = plan;
  const { workflowId } = workflowExecution();
  const properties = { ...record.properties, ...MAKER, [VOLUME_PROPERTY]: volumeId, [RUN_PROPERTY]: workflowId };
  // A policy for what everybody sees can tell our images by their properties, and at a create it is shown none of them.
  const visibility = isForAll(record) ? 'private' : record.visibility;
  try {
    return await images.createImage({ ...record, visibility, id: imageId, owner: projectId, isProtected, properties });
  } catch (error) {
    if (!isFailure(error, 'InvalidRequest') || error.details.field !== 'imageId') throw error;
    const found = await findImage({ images }, plan);
    if (found !== undefined && isMadeOf(found, plan)) return found;
    // The id is another image's, or was one's: Glance never gives one twice. Else the service's own words tell why.
    throw error;
  }
}

/** A try that was given up and comes late may find its run ended: nobody else would remove the record then. */
async function removeAfterEnd(deps: ControlDependencies, plan: UploadPlan): Promise<void> {
  const { workflowId } = workflowExecution();
  if (!(await isRunning(deps, { workflowId }))) await removeUnfilledImage(deps, plan);
}

/** As `kit/unfilled-image.ts` has it. */
export function createRemoveUnfilledImage(deps: ControlDependencies) {
  return async (plan: UploadPlan): Promise<void> => void (await removeUnfilledImage(deps, plan));
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
