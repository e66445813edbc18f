import { z } from 'zod';
import { extendVolume } from '../../client/volumes';
import { GiB } from '../../workflows/contract/bytes';
import { badRequest } from '../errors';
import { orGoesOn } from '../or-goes-on';
import { sizeGiB, statusOf } from '../views/volume';
import { volumeSizeGiB } from '../schemas/common-fields';
import { requesterOf } from '../requester';
import { volumeAction } from './volume-action';

/** From which minor version on one that is in use may be extended. */
const SINCE_IN_USE = 42;

/** Source: `cinder.volume.api.API._extend`. */
export const extend = volumeAction({
  schema: z.object({ new_size: volumeSizeGiB }),
  run: async ({ request, context, volume, input }) => {
    const { volumeId } = volume;
    const expected = request.minor >= SINCE_IN_USE && volume.status === 'in-use' ? 'in-use' : 'available';
    const current = sizeGiB(volume.sizeBytes);
    if (input.new_size <= current)
      throw badRequest(
        `Invalid input received: New size for extend must be greater than current size. (current: ${current}, extended: ${input.new_size}).`,
      );
    if (statusOf(volume) !== expected)
      throw badRequest(
        `Invalid volume: Volume ${volumeId} status must be '${expected}' to extend, currently ${statusOf(volume)}.`,
      );
    const sizeBytes = input.new_size * GiB;
    await orGoesOn((signal) => extendVolume(context.cache, volumeId, { sizeBytes, signal, ...requesterOf(request) }));
  },
});
