import { cancellationSignal } from '@temporalio/activity';
import { z } from 'zod';
import { beginReimage, holdsNothing } from '../../db/reimage-admission';
import { dropReimage } from '../../db/reimages';
import { scopeOf } from '../../db/scope';
import { findVolume } from '../../db/volumes';
import { GiB } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, ContentId, ProjectId, VolumeId } from '../../workflows/contract/ids';
import type { CacheKey, Image } from '../../workflows/contract/image';
import type { BypassReason } from '../../workflows/contract/volume';
import type { Reimage } from '../../workflows/contract/volume-changes';
import type { ControlDependencies } from '../dependencies';
import { cacheKeyOf } from '../kit/cache-key';
import { checkImage } from '../kit/check-image';
import { sizeOf } from '../kit/created-volume';
import { imageMetadataOf } from '../kit/image-metadata';
import { promiseLimitOf } from '../kit/promise-limit';
import { readImageFor } from '../kit/read-image-for';
import { callerSchema, parseRequest, projectId, uuid } from '../kit/request';
import { checkFits, refuseVolume, REIMAGABLE } from '../kit/reimage-bytes';
import { isDead, workflowExecution } from '../kit/runs';

const reimageSchema = z.strictObject({
  volumeId: uuid,
  projectId: projectId.optional(),
  imageId: uuid,
  bypassCache: z.boolean('true or false').optional(),
  reimageReserved: z.boolean('true or false').optional(),
  ...callerSchema,
});

export type BegunReimage =
  | {
      kind: 'begun';
      reimage: Reimage;
      cacheKey: CacheKey;
      bypass: BypassReason | null;
      imageName: string | null;
      conversionMs: number;
      /** Whether it is reserved: the servers for which it is are told of the end. */
      isReserved: boolean;
    }
  /** A dead run has left one, which is to be settled first. */
  | { kind: 'unsettled'; volumeId: VolumeId; backend: BackendName; contentId: ContentId };

export interface BeginReimageRequest {
  input: unknown;
  /** Of the new bytes; the run's own. */
  contentId: ContentId;
}

/**
 * Checks a request for new bytes of a volume against the volume and the image's record, and begins it by a row. Idempotent. Undo: `dropReimage`.
 * @throws InvalidRequest, VolumeNotFound, VolumeNotReady, VolumeInUse, NoSpace, QuotaExceeded, ImageNotFound, ImageNotActive, ImageUnsupported, ImageRefused (final); VolumeBusy,
 *   ImageServiceUnavailable, DatabaseUnavailable (retried).
 */
export function createBeginReimage(deps: ControlDependencies) {
  return async function beginReimageOf({ input, contentId }: BeginReimageRequest): Promise<BegunReimage> {
    const { projectId: project, imageId: given, by, requestId, ...request } = parseRequest(reimageSchema, input);
    const volumeId = request.volumeId as VolumeId;
    const scope = scopeOf(project as ProjectId | undefined);
    const volume = await findVolume(deps.database, { volumeId, scope });
    if (volume === undefined || volume.state === 'deleted') throw new Failure('VolumeNotFound', { volumeId });
    const { projectId: owner } = volume;
    await deps.checkProject(owner);
    const image = await readImageFor(deps, { imageId: given, projectId: owner, signal: cancellationSignal() });
    checkImage(deps, image);
    const cacheKey = cacheKeyOf(image, deps.signatures.signatureOf(image));
    const isVerified = deps.signatures.version === undefined ? undefined : cacheKey.signature !== undefined;
    const row = {
      volumeId,
      scope,
      contentId,
      imageId: image.id,
      shortKey: cacheKey.short,
      imageMetadata: imageMetadataOf(image, isVerified),
      reserved: request.reimageReserved ?? false,
      sizeBytes: findSize(image),
      limitOf: async (backend: BackendName) => await promiseLimitOf(deps, backend),
      by,
      requestId,
      ...workflowExecution(),
    };
    const begun = await begin(deps, row);
    switch (begun.kind) {
      case 'absent':
        throw new Failure('VolumeNotFound', { volumeId });
      case 'volume-state':
        throw new Failure('VolumeNotReady', { volumeId, state: begun.state, allowed: REIMAGABLE });
      case 'in-use':
        throw new Failure('VolumeInUse', { volumeId, by: begun.by });
      case 'no-size':
        throw refuseVolume(`${volumeId}, whose size was never known`, 'one with a size, or an image with virtual_size');
      case 'no-room': {
        const { kind: _kind, ...room } = begun;
        const freeBytes = Math.max(0, room.mostBytes - room.promisedBytes);
        throw new Failure('NoSpace', { backend: volume.backend, ...room, freeBytes });
      }
      case 'over-quota': {
        const { kind: _kind, ...exceeded } = begun;
        throw new Failure('QuotaExceeded', { projectId: owner, ...exceeded });
      }
      case 'busy': {
        const { reimage } = begun;
        if (!(await isDead(deps, reimage))) throw new Failure('VolumeBusy', reimage);
        return { kind: 'unsettled', volumeId, backend: reimage.backend, contentId: reimage.contentId };
      }
      case 'begun': {
        checkFits(begun.volume, image, image.virtualSizeBytes ?? 0);
        const { backend, imageId: formerImageId } = begun.volume;
        const reimage = { volumeId, backend, imageId: image.id, formerImageId, contentId };
        const conversionMs = deps.config.tools.wallClock;
        const bypass = request.bypassCache === true ? 'requested' : null;
        const isReserved = begun.volume.status === 'reserved';
        return { kind: 'begun', reimage, cacheKey, bypass, imageName: image.name, conversionMs, isReserved };
      }
    }
  };
}

async function begin(deps: ControlDependencies, row: Parameters<typeof beginReimage>[1]) {
  const begun = await beginReimage(deps.database, row);
  if (begun.kind !== 'busy' || !holdsNothing(begun.reimage) || !(await isDead(deps, begun.reimage))) return begun;
  return await beginReimage(deps.database, { ...row, deadRunId: begun.reimage.runId });
}

/** As a create would choose it; undefined where the record does not tell. */
function findSize({ virtualSizeBytes, minDiskGiB }: Image): number | undefined {
  const chosen = { sizeBytes: null, minDiskBytes: minDiskGiB * GiB };
  return virtualSizeBytes === null ? undefined : sizeOf(chosen, virtualSizeBytes);
}

/** Ends a reimage that holds nothing yet. Idempotent. */
export function createDropReimage(deps: ControlDependencies) {
  return async function dropReimageOf({ contentId }: { contentId: ContentId }): Promise<void> {
    await dropReimage(deps.database, { contentId });
  };
}
