import { z } from 'zod';
import { ImageVolumeCacheError } from '../../client/errors';
import { changeVolume, reimageVolume } from '../../client/volumes';
import { MAX_NAME_CHARACTERS } from '../../workflows/contract/volume-changes';
import { ApiError, badRequest, notFound } from '../errors';
import { orGoesOn } from '../or-goes-on';
import { flag, nonEmptyText, resourceId } from '../schemas/common-fields';
import { statusOf } from '../views/volume';
import { NO_TYPE } from '../../workflows/contract/volume-type';
import { visibleType } from '../volume-types';
import { requesterOf } from '../requester';
import { volumeAction } from './volume-action';

/* Other bytes for a volume, or another place for them. */

const reimage = volumeAction({
  schema: z.strictObject({ image_id: resourceId, reimage_reserved: flag.optional() }),
  since: 68,
  run: async ({ request, context, volume, input }) => {
    const { volumeId } = volume;
    const allowed = input.reimage_reserved ? ['available', 'error', 'reserved'] : ['available', 'error'];
    // The same once more joins the run that is at it, and one that a dead run has left is ended.
    const status = statusOf({ ...volume, isReimaging: false });
    if (!allowed.includes(status))
      throw badRequest(
        `Invalid volume: status must be ${allowed.join(' or ')} to reimage volume ${volumeId}, but current status is ${status}`,
      );
    const { image_id: imageId, reimage_reserved: reimageReserved } = input;
    const asked = { imageId, reimageReserved, ...requesterOf(request) };
    try {
      await orGoesOn((signal) => reimageVolume(context.cache, volumeId, { ...asked, signal }));
    } catch (error) {
      // As with Cinder, which answers so here alone: to a create it says 400.
      if (error instanceof ImageVolumeCacheError && error.type === 'ImageNotFound')
        throw new ApiError(404, error.message, { cause: error });
      throw error;
    }
  },
});

const retype = volumeAction({
  schema: z.strictObject({
    new_type: nonEmptyText(MAX_NAME_CHARACTERS),
    migration_policy: z.enum(['on-demand', 'never']).nullish(),
  }),
  run: async ({ request, context, volume, input }) => {
    const type = await visibleType(request, context, input.new_type);
    if (type === undefined) throw notFound(`Volume type with name ${input.new_type} could not be found.`);
    const { volumeId } = volume;
    if (type.name === (volume.volumeType ?? NO_TYPE))
      throw badRequest(`Invalid volume: volume ${volumeId} is of type ${type.name} already`);
    await changeVolume(context.cache, volumeId, { volumeType: type.name, ...requesterOf(request) });
  },
});

const revert = volumeAction({
  schema: z.strictObject({ snapshot_id: resourceId }),
  since: 40,
  run: async ({ volume }) =>
    await Promise.reject(
      new ApiError(
        409,
        `Volume ${volume.volumeId} cannot be reverted: a volume made of the snapshot has what it had (snapshot_id).`,
      ),
    ),
});

export const contentActions = { 'os-reimage': reimage, 'os-retype': retype, revert };
