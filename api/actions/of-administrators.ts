import { z } from 'zod';
import { changeVolume, deleteVolume } from '../../client/volumes';
import { heldStatuses, type HeldStatus } from '../../workflows/contract/volume';
import { badRequest } from '../errors';
import { orGoesOn } from '../or-goes-on';
import { statusOf } from '../views/volume';
import { requesterOf } from '../requester';
import { volumeAction } from './volume-action';

/* Actions of administrators on a volume that is stuck. */

/** Statuses that Cinder itself refuses a reset to. Source: `cinder.objects.fields.VolumeStatus`, `VolumeAttachStatus`. */
const neverReset: readonly string[] = ['deleting', 'error_deleting', 'detaching'];
const attachStatuses = [
  'attached',
  'attaching',
  'detached',
  'reserved',
  'error_attaching',
  'error_detaching',
  'deleted',
];

const resetSchema = z
  .strictObject({
    status: z.string().nullish(),
    attach_status: z.string().toLowerCase().pipe(z.enum(attachStatuses)).nullish(),
    migration_status: z.string().nullish(),
  })
  .refine((body) => Object.keys(body).length > 0, 'One of status, attach_status, migration_status');

/** @returns the status of Cinder's name. @throws ApiError 400 for one that there is not, or that only its work may give it. */
function resettable(status: string): HeldStatus | 'available' {
  const name = status.toLowerCase();
  const found = [...heldStatuses, 'available' as const].find((known) => known === name);
  if (found === undefined || neverReset.includes(name)) throw badRequest(`Cannot reset-state to ${name.slice(0, 64)}`);
  return found;
}

const resetStatus = volumeAction({
  schema: resetSchema,
  ofAdministrators: true,
  run: async ({ request, context, volume, input }) => {
    if (typeof input.status !== 'string') return;
    const status = resettable(input.status);
    if (status === statusOf(volume)) return;
    if (status === 'in-use' && volume.attachedTo === null)
      throw badRequest('Cannot reset-state to in-use because volume does not have any attachments.');
    await changeVolume(context.cache, volume.volumeId, { status, ...requesterOf(request), projectId: undefined });
  },
});

const forceDelete = volumeAction({
  schema: z.unknown(),
  ofAdministrators: true,
  run: async ({ request, context, volume }) => {
    const { by, requestId } = requesterOf(request);
    await orGoesOn((signal) => deleteVolume(context.cache, volume.volumeId, { force: true, signal, by, requestId }));
  },
});

/** There is one host, and no volume is ever moved between two. */
const migrate = volumeAction({
  schema: z.looseObject({ host: z.string().nullish(), cluster: z.string().nullish() }),
  ofAdministrators: true,
  run: async ({ input }) => {
    const target = (input.cluster ?? input.host ?? '').slice(0, 255);
    return await Promise.reject(badRequest(`Invalid host: No available service named '${target}'`));
  },
});

const completeMigration = volumeAction({
  schema: z.looseObject({ new_volume: z.string() }),
  ofAdministrators: true,
  run: async () => await Promise.reject(badRequest('Invalid volume: Volume is not being migrated.')),
});

export const administratorActions = {
  'os-reset_status': resetStatus,
  'os-force_delete': forceDelete,
  'os-migrate_volume': migrate,
  'os-migrate_volume_completion': completeMigration,
};
