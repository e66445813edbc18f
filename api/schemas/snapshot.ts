import { z } from 'zod';
import { MAX_NAME_CHARACTERS } from '../../workflows/contract/volume-changes';
import { changedNames, flag, metadata, namedOnce, optional, resourceId } from './common-fields';

const text = optional(z.string().trim().max(MAX_NAME_CHARACTERS));

/** Source: `cinder.api.schemas.snapshots`. */
export const createSnapshotSchema = z.object({
  snapshot: z.strictObject({
    volume_id: optional(resourceId),
    name: text,
    display_name: text,
    description: text,
    force: optional(flag),
    metadata: optional(metadata),
  }),
});
export type CreateSnapshotBody = z.output<typeof createSnapshotSchema>;

export const updateSnapshotSchema = z.object({
  snapshot: z
    .strictObject(changedNames)
    .refine((snapshot) => Object.keys(snapshot).length > 0, 'a name or a description')
    .transform(namedOnce),
});
export type UpdateSnapshotBody = z.output<typeof updateSnapshotSchema>;
