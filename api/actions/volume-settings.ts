import { z } from 'zod';
import { getVolume } from '../../client/reads';
import { changeVolume } from '../../client/volumes';
import { MAX_NAME_CHARACTERS } from '../../workflows/contract/volume-changes';
import { badRequest, notFound } from '../errors';
import { flag, nonEmptyText } from '../schemas/common-fields';
import { statusOf } from '../views/volume';
import { requesterOf } from '../requester';
import { volumeAction } from './volume-action';

/* Settings of a volume that change without its backend. */

const setBootable = volumeAction({
  schema: z.strictObject({ bootable: flag }),
  status: 200,
  run: async ({ request, context, volume, input }) => {
    await changeVolume(context.cache, volume.volumeId, { bootable: input.bootable, ...requesterOf(request) });
  },
});

const updateReadOnlyFlag = volumeAction({
  schema: z.strictObject({ readonly: flag }),
  run: async ({ request, context, volume, input }) => {
    if (statusOf(volume) !== 'available')
      throw badRequest(
        `Invalid volume: Volume ${volume.volumeId} status must be available to update readonly flag, but current status is: ${statusOf(volume)}.`,
      );
    await changeVolume(context.cache, volume.volumeId, { readOnly: input.readonly, ...requesterOf(request) });
  },
});

const setImageMetadata = volumeAction({
  schema: z.strictObject({ metadata: z.record(nonEmptyText(MAX_NAME_CHARACTERS), z.string()) }),
  status: 200,
  run: async ({ request, context, volume, input }) => {
    await changeVolume(context.cache, volume.volumeId, { imageMetadata: input.metadata, ...requesterOf(request) });
    return { metadata: (await getVolume(context.cache, volume.volumeId)).imageMetadata };
  },
});

const showImageMetadata = volumeAction({
  schema: z.unknown(),
  status: 200,
  run: async ({ volume }) => await Promise.resolve({ metadata: volume.imageMetadata }),
});

const unsetImageMetadata = volumeAction({
  schema: z.strictObject({ key: nonEmptyText(MAX_NAME_CHARACTERS) }),
  status: 200,
  run: async ({ request, context, volume, input }) => {
    const { volumeId, imageMetadata } = volume;
    if (!Object.hasOwn(imageMetadata, input.key))
      throw notFound(`Glance metadata for volume/snapshot ${volumeId} cannot be found.`);
    await changeVolume(context.cache, volumeId, { unsetImageMetadata: [input.key], ...requesterOf(request) });
  },
});

export const settingActions = {
  'os-set_bootable': setBootable,
  'os-update_readonly_flag': updateReadOnlyFlag,
  'os-set_image_metadata': setImageMetadata,
  'os-show_image_metadata': showImageMetadata,
  'os-unset_image_metadata': unsetImageMetadata,
};
