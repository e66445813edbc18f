import { z } from 'zod';
import { attachModes } from '../../workflows/contract/attachment';
import { optional, resourceId } from './common-fields';

const connector = z.record(z.string(), z.unknown(), 'an object');

/** Source: `cinder.api.schemas.attachments`. */
export const createAttachmentSchema = z.object({
  attachment: z.strictObject({
    volume_uuid: resourceId,
    instance_uuid: optional(resourceId),
    connector: optional(connector),
    mode: z.enum(attachModes, attachModes.join(' or ')).optional(),
  }),
});
export type CreateAttachmentBody = z.output<typeof createAttachmentSchema>;

export const updateAttachmentSchema = z.object({
  attachment: z.strictObject({
    connector: connector.refine((given) => Object.keys(given).length > 0, 'an object with properties'),
  }),
});
export type UpdateAttachmentBody = z.output<typeof updateAttachmentSchema>;

export const completeAttachmentSchema = z.strictObject({ 'os-complete': z.unknown() });
