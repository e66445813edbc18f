import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { startUpload } from '../../client/start-volume';
import { getVolume } from '../../client/reads';
import { imageVisibilities, uploadDiskFormats } from '../../workflows/contract/upload';
import { MAX_NAME_CHARACTERS } from '../../workflows/contract/volume-changes';
import { isAdmin } from '../caller';
import { badRequest, forbidden } from '../errors';
import { specsFor } from '../routes/types';
import { flag, nonEmptyText } from '../schemas/common-fields';
import { sizeGiB, statusOf } from '../views/volume';
import { timeOf } from '../views/time';
import { NO_TYPE } from '../../workflows/contract/volume-type';
import { visibleType } from '../volume-types';
import { requesterOf } from '../requester';
import { volumeAction, type ActionCall } from './volume-action';

/** Source: `UPLOAD_IMAGE_PARAMS` of `cinder.api.microversions`. */
const SINCE_VISIBILITY = 1;
/** An image whose record must be there when the client looks for it; a client waits for an answer no longer than this. */
const PATIENCE_MS = 25_000;

const schema = z.strictObject({
  image_name: nonEmptyText(MAX_NAME_CHARACTERS),
  force: flag.default(false),
  disk_format: z.enum(uploadDiskFormats, uploadDiskFormats.join(' or ')).default('raw'),
  container_format: z
    .literal('bare', 'bare')
    .nullish()
    .transform((format) => format ?? 'bare'),
  visibility: z.enum(imageVisibilities, imageVisibilities.join(', ')).optional(),
  protected: flag.optional(),
});

/** The image's record is there with the answer, its bytes come later. Source: `cinder.volume.api.API.copy_volume_to_image`. */
export const uploadToImage = volumeAction({
  schema,
  run: async (call) => {
    const { request, context, volume, input } = call;
    expectKnown(call);
    const { volumeId } = volume;
    const allowed = input.force ? ['available', 'in-use'] : ['available'];
    if (!allowed.includes(statusOf(volume)))
      throw badRequest(`Invalid volume: Volume ${volumeId} status must be ${allowed.join(' or ')}`);
    const { disk_format: diskFormat, container_format: containerFormat } = input;
    // The image service makes a record without a visibility `shared`.
    const visibility = input.visibility ?? (request.minor < SINCE_VISIBILITY ? 'shared' : 'private');
    const isProtected = input.protected ?? false;
    const record = { name: input.image_name, diskFormat, containerFormat, visibility, isProtected };
    const wanted = { volumeId, imageId: randomUUID(), force: input.force, ...record, ...requesterOf(request) };
    const { imageId } = await startUpload(context.cache, wanted, { signal: AbortSignal.timeout(PATIENCE_MS) });
    const { updatedAt } = await getVolume(context.cache, volumeId);
    return {
      'os-volume_upload_image': {
        id: volumeId,
        updated_at: timeOf(updatedAt),
        status: 'uploading',
        display_description: volume.description,
        size: sizeGiB(volume.sizeBytes),
        volume_type: await typeOf(call),
        image_id: imageId,
        container_format: containerFormat,
        disk_format: diskFormat,
        image_name: input.image_name,
        protected: isProtected,
        visibility,
      },
    };
  },
});

type UploadCall = ActionCall<z.output<typeof schema>>;

/** @throws ApiError 400 for what a later microversion knows, 403 for an image that everybody sees. */
function expectKnown({ request, input }: UploadCall): void {
  const { visibility } = input;
  if (request.minor < SINCE_VISIBILITY && (visibility !== undefined || input.protected !== undefined))
    throw badRequest('Additional properties are not allowed: visibility and protected came with 3.1.');
  if (visibility === 'public' && !isAdmin(request.caller))
    throw forbidden('volume_extension:volume_actions:upload_public');
}

/** As Cinder's own record of it. */
async function typeOf({ request, context, volume }: UploadCall): Promise<object | null> {
  const type = await visibleType(request, context, volume.volumeType ?? NO_TYPE);
  if (type === undefined) return null;
  return {
    id: type.volumeTypeId,
    name: type.name,
    description: type.description,
    is_public: type.isPublic,
    extra_specs: specsFor(request, type),
    qos_specs_id: null,
    created_at: null,
    updated_at: null,
    deleted_at: null,
    deleted: false,
  };
}
