import { z } from 'zod';
import { changeAttachment } from '../../client/attachments';
import { attachModes, type AttachmentChange } from '../../workflows/contract/attachment';
import { MAX_NAME_CHARACTERS } from '../../workflows/contract/volume-changes';
import { connectionInfoOf } from '../connection-info';
import { badRequest } from '../errors';
import { nonEmptyText, optional, resourceId } from '../schemas/common-fields';
import { requesterOf } from '../requester';
import { volumeAction, type ActionCall, type VolumeAction } from './volume-action';

/* The older way to attach a volume, before attachments had ids of their own. Source: `cinder.api.contrib.volume_actions`. */

async function change({ request, context, volume }: ActionCall<unknown>, asked: AttachmentChange): Promise<void> {
  const { byService } = request.caller;
  await changeAttachment(context.cache, volume.volumeId, { ...asked, byService, ...requesterOf(request) });
}

/** An action that is told nothing. */
const withoutInput = (asked: AttachmentChange['change']): VolumeAction =>
  volumeAction({ schema: z.unknown(), run: async (call) => await change(call, { change: asked }) });

const attach = volumeAction({
  schema: z
    .strictObject({
      instance_uuid: resourceId.optional(),
      mountpoint: nonEmptyText(MAX_NAME_CHARACTERS),
      host_name: z.string().max(MAX_NAME_CHARACTERS).optional(),
      mode: z.enum(attachModes, attachModes.join(' or ')).default('rw'),
    })
    .refine(
      ({ instance_uuid, host_name }) => instance_uuid !== undefined || host_name !== undefined,
      'instance_uuid or host_name',
    ),
  run: async (call) => {
    const { instance_uuid: instanceId, host_name: hostName, mountpoint, mode } = call.input;
    await change(call, { change: 'attach', instanceId, hostName, mountpoint, mode });
  },
});

const detach = volumeAction({
  schema: z.strictObject({ attachment_id: optional(resourceId) }).nullable(),
  run: async (call) => await change(call, { change: 'detach', attachmentId: call.input?.attachment_id }),
});

const connector = z.record(z.string(), z.unknown(), 'an object');

const initializeConnection = volumeAction({
  status: 200,
  schema: z.strictObject({ connector: z.union([connector, z.string()], 'an object') }),
  run: async ({ context, volume }) => {
    if (volume.status === 'maintenance')
      throw badRequest(`Invalid volume: volume ${volume.volumeId} is in maintenance.`);
    const mode = volume.attachments.find(({ status }) => status === 'attached')?.mode ?? null;
    return { connection_info: connectionInfoOf(context, volume, mode) };
  },
});

const terminateConnection = volumeAction({
  schema: z.strictObject({ connector: z.union([connector, z.string(), z.null()], 'an object or null') }),
  run: async (call) => await change(call, { change: 'disconnect' }),
});

/** By their names in the body. */
export const attachActions: Readonly<Record<string, VolumeAction>> = {
  'os-reserve': withoutInput('reserve'),
  'os-unreserve': withoutInput('unreserve'),
  'os-begin_detaching': withoutInput('begin-detaching'),
  'os-roll_detaching': withoutInput('roll-detaching'),
  'os-attach': attach,
  'os-detach': detach,
  'os-initialize_connection': initializeConnection,
  'os-terminate_connection': terminateConnection,
};
