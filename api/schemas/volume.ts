import { z } from 'zod';
import { MAX_NAME_CHARACTERS } from '../../workflows/contract/volume-changes';
import { changedNames, metadata, namedOnce, optional, resourceId, nonEmptyText, volumeSizeGiB } from './common-fields';

/** Source: `cinder.api.schemas.volumes`. Unused fields are null where openstackclient sends them. */
export const createVolumeSchema = z.object({
  volume: z.object({
    name: optional(nonEmptyText(MAX_NAME_CHARACTERS)),
    description: optional(nonEmptyText(MAX_NAME_CHARACTERS)),
    size: optional(volumeSizeGiB),
    imageRef: optional(nonEmptyText(MAX_NAME_CHARACTERS)),
    snapshot_id: optional(resourceId),
    source_volid: optional(resourceId),
    volume_type: optional(nonEmptyText(MAX_NAME_CHARACTERS)),
    availability_zone: optional(nonEmptyText(MAX_NAME_CHARACTERS)),
    metadata: optional(metadata),
  }),
});
export type CreateVolumeBody = z.output<typeof createVolumeSchema>;

export const updateVolumeSchema = z.object({
  volume: z.object({ ...changedNames, metadata: optional(metadata) }).transform(namedOnce),
});
export type UpdateVolumeBody = z.output<typeof updateVolumeSchema>;

export const metadataSchema = z.object({ metadata });
export const metadataItemSchema = z.object({
  meta: metadata.refine((item) => Object.keys(item).length === 1, 'one item'),
});
