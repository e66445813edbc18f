import { v5 as uuidV5 } from 'uuid';
import { z } from 'zod';
import { recordImageEvents } from '../../db/events';
import { findCachedImageOf, noteCachedImage } from '../../db/imports';
import { getAvailableVolume } from '../kit/available-volume';
import { Failure } from '../../workflows/contract/failures';
import type { EntryId, ImageId, SnapshotId, VolumeId } from '../../workflows/contract/ids';
import type { SeedPlan } from '../../workflows/contract/upload';
import type { ControlDependencies } from '../dependencies';
import { parseExpectedBytes } from '../image/expected-bytes';
import { isGuestBytes } from '../kit/cache-key';
import { checkImage } from '../kit/check-image';
import { callerSchema, parseRequest, uuid } from '../kit/request';
import { workflowExecution } from '../kit/runs';

/** Namespace of the ids of snapshots that a volume is compared by (RFC 9562, version 5). */
const SNAPSHOT_ID_NAMESPACE = '8e5b1d0e-5a3f-4a8a-9b5c-2f4f3c0a7d21';

const requestSchema = z.strictObject({ imageId: uuid, volumeId: uuid, ...callerSchema });

/**
 * Checks a request, and records who has sent it. Idempotent. @returns the image and the volume that is said to hold its bytes.
 * @throws InvalidRequest, VolumeNotFound, VolumeDeleted, ImageNotFound, ImageNotActive, ImageRefused; ImageUnsupported for a format whose file is not what a
 * guest sees: the record has the hash of the file, which nobody can work out from a volume (final).
 */
export function createPlanSeed(deps: ControlDependencies) {
  return async function planSeed(input: unknown): Promise<SeedPlan> {
    const request = parseRequest(requestSchema, input);
    const volumeId = request.volumeId as VolumeId;
    const imageId = request.imageId as ImageId;
    const { projectId, backend, sizeBytes } = await getAvailableVolume(deps, { volumeId, scope: 'all projects' });
    const image = await deps.images.getImage(imageId);
    checkImage(deps, image);
    const unfit = (found: string) =>
      new Failure('ImageUnsupported', { imageId, found, allowed: 'an unsigned raw or iso image in a bare container' });
    const { containerFormat, diskFormat } = image;
    const isFlat = isGuestBytes({ containerFormat: containerFormat ?? '', diskFormat: diskFormat ?? '' });
    // Cinder has told it of a volume that was taken over.
    const isTold = (await findCachedImageOf(deps.database, volumeId)) === imageId;
    if (!isFlat && !isTold)
      throw unfit(`${diskFormat} in ${containerFormat}: whether a volume holds its bytes cannot be told by its hash`);
    if (deps.signatures.signatureOf(image) !== undefined) throw unfit('signed, which a download verifies');
    const { sizeBytes: imageBytes, algorithm, hash } = parseExpectedBytes(image);
    const snapshotId = uuidV5(`${imageId}/${volumeId}`, SNAPSHOT_ID_NAMESPACE) as SnapshotId;
    const { by, requestId } = request;
    const source = { by, requestId, ...workflowExecution() };
    await recordImageEvents(deps.database, {
      kind: 'seed.requested',
      images: [{ imageId, backend }],
      detail: { volumeId },
      ...source,
    });
    const plan = { imageId, volumeId, snapshotId, projectId, backend, sizeBytes, imageBytes, algorithm, hash };
    return isTold ? { ...plan, isTold } : plan;
  };
}

/** Notes that the image is cached by a clone of a volume that was taken over, which is not to be given back before it. Idempotent. */
export function createNoteTold({ database }: ControlDependencies) {
  return async function noteTold(told: { entryId: EntryId; volumeId: VolumeId; imageId: ImageId }): Promise<void> {
    await noteCachedImage(database, { ...told, runId: workflowExecution().runId });
  };
}
