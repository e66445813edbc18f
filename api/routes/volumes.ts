import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Volume } from '../../client/records';
import { getVolume } from '../../client/reads';
import { startDelete, startVolume } from '../../client/start-volume';
import { changeVolume } from '../../client/volumes';
import { GiB } from '../../workflows/contract/bytes';
import { uuidPattern } from '../../workflows/contract/ids';
import { isAdmin, reachOf } from '../caller';
import { badRequest, forbidden, notFound } from '../errors';
import {
  createVolumeSchema,
  updateVolumeSchema,
  type CreateVolumeBody,
  type UpdateVolumeBody,
} from '../schemas/volume';
import type { ApiContext } from '../api-context';
import { isTrue, type Query } from '../query';
import { idOfKey } from '../idempotency';
import { orGoesOn } from '../or-goes-on';
import { defaultTypeOf } from '../volume-types';
import { requesterOf } from '../requester';
import { typeCalled } from './types';
import { statusOf, volumeBody, volumeDetail } from '../views/volume';

/** Source: `VOLUME_DELETE_FORCE` of `cinder.api.microversions`. */
const SINCE_FORCED_DELETE = 23;
/** Source: `cinder.volume.api.API.delete`. */
const deletable: readonly string[] = ['available', 'error', 'error_restoring', 'error_extending', 'error_managing'];
const notDeletable =
  'Invalid volume: Volume status must be available or error or error_restoring or error_extending or error_managing and must not be migrating, attached, belong to a group, have snapshots, awaiting a transfer, or be disassociated from snapshots after volume transfer.';

interface OfVolume {
  Params: { volume_id: string };
}

/** `volumes`: create, show, update, delete. */
export function registerVolumes(app: FastifyInstance, context: ApiContext): void {
  const { cache } = context;
  const shown = (request: FastifyRequest, volume: Volume) => ({ volume: volumeDetail(request, context, volume) });

  app.post<{ Body: CreateVolumeBody }>('/volumes', { schema: { body: createVolumeSchema } }, async (request, reply) => {
    const { volume: given } = request.body;
    expectZone(given.availability_zone, context);
    const type = await typeAskedFor(request, context, given);
    const volume = await startVolume(cache, { ...inputOf(given, request), ...type });
    return reply.code(202).send({ volume: volumeBody(request, context, volume) });
  });

  app.get<OfVolume>('/volumes/:volume_id', async (request) => shown(request, await volumeOfPath(request, context)));

  app.put<OfVolume & { Body: UpdateVolumeBody }>(
    '/volumes/:volume_id',
    { schema: { body: updateVolumeSchema } },
    async (request) => {
      const { volumeId } = await volumeOfPath(request, context);
      await changeVolume(cache, volumeId, { ...request.body.volume, ...requesterOf(request) });
      return { volume: volumeBody(request, context, await getVolume(cache, volumeId)) };
    },
  );

  app.delete<OfVolume & { Querystring: Query }>('/volumes/:volume_id', async (request, reply) => {
    const { volumeId, ...volume } = await volumeOfPath(request, context);
    const { query, caller } = request;
    const force = request.minor >= SINCE_FORCED_DELETE && isTrue(query['force']);
    if (force && !isAdmin(caller)) throw forbidden('volume:force_delete');
    if (!force && !deletable.includes(statusOf(volume))) throw badRequest(notDeletable);
    const who = requesterOf(request);
    const wanted = { cascade: isTrue(query['cascade']), force, ...who, ...(force && { projectId: undefined }) };
    await orGoesOn((signal) => startDelete(cache, volumeId, { ...wanted, signal }));
    return reply.code(202).send();
  });
}

/** @returns the volume of the path, if it is the caller's to see. @throws ApiError 404 */
export async function volumeOfPath(request: FastifyRequest, { cache }: ApiContext): Promise<Volume> {
  const { volume_id: volumeId } = request.params as OfVolume['Params'];
  if (!uuidPattern.test(volumeId)) throw notFound(`Volume ${volumeId} could not be found.`);
  const volume = await getVolume(cache, volumeId, { projectId: reachOf(request.caller) });
  if (volume.state === 'deleted') throw notFound(`Volume ${volumeId} could not be found.`);
  return volume;
}

/** @throws ApiError 400 for another zone than the one that is served */
function expectZone(asked: string | undefined, { availabilityZone }: ApiContext): void {
  if (asked !== undefined && asked !== availabilityZone) throw badRequest(`Availability zone '${asked}' is invalid.`);
}

/** @returns the name of the type that a create asks for, or of its project's default. A copy has its source's. @throws ApiError 404 */
async function typeAskedFor(
  request: FastifyRequest,
  context: ApiContext,
  { volume_type: called, snapshot_id: snapshotId, source_volid: sourceVolumeId }: CreateVolumeBody['volume'],
) {
  if (called !== undefined) return { volumeType: (await typeCalled(request, context, called)).name };
  if ((snapshotId ?? sourceVolumeId) !== undefined) return {};
  return { defaultVolumeType: (await defaultTypeOf(context, request.caller.projectId))?.name };
}

function inputOf(body: CreateVolumeBody['volume'], request: FastifyRequest) {
  const { caller } = request;
  const shared = {
    volumeId: idOfKey(request, 'volume'),
    sizeBytes: body.size === undefined ? undefined : body.size * GiB,
    name: body.name,
    description: body.description,
    metadata: body.metadata,
    // As with Cinder, whose scheduler looks for a backend after the answer.
    acceptUnplaced: true,
    ...requesterOf(request),
    projectId: caller.projectId,
  };
  const { imageRef, snapshot_id: snapshotId, source_volid: sourceVolumeId } = body;
  if (imageRef !== undefined) return { imageId: imageRef.split('/').at(-1) ?? imageRef, ...shared };
  // As with Cinder: the new volume is the administrator's own project's, whosever the source is.
  if (snapshotId !== undefined || sourceVolumeId !== undefined)
    return { snapshotId, sourceVolumeId, ...shared, ...(isAdmin(caller) && { ofAnyProject: true }) };
  if (body.size === undefined)
    throw badRequest("Invalid input received: 'size' must be given for a volume of no source.");
  return shared;
}
