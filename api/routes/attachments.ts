import { randomUUID } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { changeAttachment } from '../../client/attachments';
import { getVolume } from '../../client/reads';
import type { Attachment, Volume } from '../../client/records';
import { attachmentStatuses, type AttachmentChange } from '../../workflows/contract/attachment';
import { uuidPattern } from '../../workflows/contract/ids';
import type { ApiContext } from '../api-context';
import { isAdmin, reachOf } from '../caller';
import { connectionInfoOf } from '../connection-info';
import { badRequest, notFound } from '../errors';
import { pageOf } from '../paging';
import { isTrue, type Query } from '../query';
import {
  completeAttachmentSchema,
  createAttachmentSchema,
  updateAttachmentSchema,
  type CreateAttachmentBody,
  type UpdateAttachmentBody,
} from '../schemas/attachment';
import { attachmentDetail, attachmentSummary } from '../views/attachment';
import { requesterOf } from '../requester';

interface OfAttachment {
  Params: { attachment_id: string };
}

/** Minor versions from which on there are attachments, their `os-complete` and their `mode`. */
const SINCE = 27;
const COMPLETE_SINCE = 44;
const MODE_SINCE = 54;

/** `attachments`: create, connect, complete, list, show, delete. */
export function registerAttachments(app: FastifyInstance, context: ApiContext): void {
  const path = '/attachments/:attachment_id';

  app.post<{ Body: CreateAttachmentBody }>(
    '/attachments',
    { schema: { body: createAttachmentSchema } },
    async (request) => {
      expectMinor(request, SINCE);
      const { volume_uuid: volumeId, instance_uuid: instanceId, connector, mode } = request.body.attachment;
      if (mode !== undefined && request.minor < MODE_SINCE)
        throw badRequest(`Invalid input for field/attribute attachment.mode: it came with version 3.${MODE_SINCE}.`);
      const volume = await getVolume(context.cache, volumeId, { projectId: reachOf(request.caller) });
      if (connector !== undefined) connectionInfoOf(context, volume, null);
      const attachmentId = randomUUID();
      await change(request, context, { volumeId, change: 'create', attachmentId, instanceId, connector, mode });
      return await show(request, context, attachmentId);
    },
  );

  app.get<{ Querystring: Query }>('/attachments', async (request) => ({
    attachments: (await list(request, context)).map(attachmentSummary),
  }));
  app.get<{ Querystring: Query }>('/attachments/detail', async (request) => {
    const attachments = await list(request, context);
    const volumes = await volumesOf(context, attachments);
    return {
      attachments: attachments.map((one) => attachmentDetail(context, one, volumes.get(one.volumeId))),
    };
  });
  app.get<OfAttachment>(path, async (request) => await show(request, context, request.params.attachment_id));

  app.put<OfAttachment & { Body: UpdateAttachmentBody }>(
    path,
    { schema: { body: updateAttachmentSchema } },
    async (request) => {
      const { attachment, volume } = await attachmentOfPath(request, context);
      connectionInfoOf(context, volume, attachment.mode);
      const { attachmentId } = attachment;
      const { connector } = request.body.attachment;
      await change(request, context, { volumeId: volume.volumeId, change: 'connect', attachmentId, connector });
      return await show(request, context, attachmentId);
    },
  );

  app.post<OfAttachment>(`${path}/action`, { schema: { body: completeAttachmentSchema } }, async (request, reply) => {
    expectMinor(request, COMPLETE_SINCE);
    const { attachment } = await attachmentOfPath(request, context);
    const { attachmentId, volumeId } = attachment;
    await change(request, context, { volumeId, change: 'complete', attachmentId });
    return reply.code(204).send();
  });

  app.delete<OfAttachment>(path, async (request) => {
    const { attachment } = await attachmentOfPath(request, context);
    const { attachmentId, volumeId } = attachment;
    await change(request, context, { volumeId, change: 'delete', attachmentId });
    const { attachments } = await getVolume(context.cache, volumeId);
    return { attachments: attachments.map(attachmentSummary) };
  });
}

/** @throws ApiError 404 where the version does not have what is called. */
function expectMinor({ minor }: FastifyRequest, least: number): void {
  if (minor < least) throw notFound('The resource could not be found.');
}

async function change(
  request: FastifyRequest,
  { cache }: ApiContext,
  { volumeId, ...asked }: AttachmentChange & { volumeId: string },
): Promise<void> {
  await changeAttachment(cache, volumeId, { ...asked, byService: request.caller.byService, ...requesterOf(request) });
}

async function show(request: FastifyRequest, context: ApiContext, attachmentId: string) {
  expectMinor(request, SINCE);
  const attachment = await findAttachment(request, context, attachmentId);
  const volumes = await volumesOf(context, [attachment]);
  return { attachment: attachmentDetail(context, attachment, volumes.get(attachment.volumeId)) };
}

async function attachmentOfPath(
  request: FastifyRequest<OfAttachment>,
  context: ApiContext,
): Promise<{ attachment: Attachment; volume: Volume }> {
  expectMinor(request, SINCE);
  const attachment = await findAttachment(request, context, request.params.attachment_id);
  return { attachment, volume: await getVolume(context.cache, attachment.volumeId) };
}

/** @returns the attachment, if it is the caller's to see. @throws ApiError 404 */
async function findAttachment({ caller }: FastifyRequest, { cache }: ApiContext, id: string): Promise<Attachment> {
  const inventory = await cache.inventory();
  const found = uuidPattern.test(id) ? await inventory.findAttachment(id, { projectId: reachOf(caller) }) : undefined;
  if (found !== undefined) return found;
  throw notFound(`Volume attachment could not be found with filter: attachment_id = ${id.slice(0, 64)}.`);
}

async function list(request: FastifyRequest<{ Querystring: Query }>, context: ApiContext): Promise<Attachment[]> {
  expectMinor(request, SINCE);
  const { query, caller } = request;
  const { limit, offset, marker: after } = pageOf(query);
  if (after !== undefined) await findAttachment(request, context, after);
  const { volume_id: volumeId, instance_id: instanceId, project_id: projectId } = query;
  const wanted = query['status'] ?? query['attach_status'];
  const status = attachmentStatuses.find((known) => known === wanted);
  const hasNone =
    (wanted !== undefined && status === undefined) || (volumeId !== undefined && !uuidPattern.test(volumeId));
  if (limit === 0 || hasNone) return [];
  const everybody = isAdmin(caller) && isTrue(query['all_tenants']);
  return await (
    await context.cache.inventory()
  ).listAttachments({
    projectId: everybody ? projectId : caller.projectId,
    volumeId,
    instanceId,
    status,
    limit,
    offset,
    after,
  });
}

async function volumesOf({ cache }: ApiContext, attachments: readonly Attachment[]): Promise<Map<string, Volume>> {
  const inventory = await cache.inventory();
  const connected = attachments.filter(({ connector }) => connector !== null).map(({ volumeId }) => volumeId);
  const volumes = await inventory.readVolumes([...new Set(connected)]);
  return new Map(volumes.map((volume) => [volume.volumeId, volume]));
}
