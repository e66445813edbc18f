import { z } from 'zod';
import { MAX_NAME_CHARACTERS } from '../../workflows/contract/volume-changes';
import { flag, optional, resourceId } from './common-fields';

/** Source: `cinder.api.schemas.volume_transfer`. */
export const createTransferSchema = z.object({
  transfer: z.strictObject({
    volume_id: resourceId,
    name: optional(z.string().trim().max(MAX_NAME_CHARACTERS)),
    no_snapshots: optional(flag),
  }),
});
export type CreateTransferBody = z.output<typeof createTransferSchema>;

export const acceptTransferSchema = z.object({
  accept: z.strictObject({ auth_key: z.union([z.string().max(MAX_NAME_CHARACTERS), z.int()]).transform(String) }),
});
export type AcceptTransferBody = z.output<typeof acceptTransferSchema>;
