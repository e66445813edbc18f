import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Transfer } from '../../client/records';
import { getTransfer, getVolume, listTransfers } from '../../client/reads';
import { acceptTransfer, createTransfer, deleteTransfer } from '../../client/transfers';
import { uuidPattern } from '../../workflows/contract/ids';
import type { ApiContext } from '../api-context';
import { isAdmin, reachOf } from '../caller';
import { badRequest, notFound } from '../errors';
import { linksOf } from '../links';
import { pageOf } from '../paging';
import {
  acceptTransferSchema,
  createTransferSchema,
  type AcceptTransferBody,
  type CreateTransferBody,
} from '../schemas/volume-transfer';
import { timeOf } from '../views/time';
import { statusOf } from '../views/volume';
import { requesterOf } from '../requester';
import { isTrue, type Query } from '../query';

interface OfTransfer {
  Params: { transfer_id: string };
}

/** `os-volume-transfer` and, since 3.55, `volume-transfers`: offers of volumes to other projects. */
export function registerTransfers(app: FastifyInstance, context: ApiContext): void {
  for (const collection of ['os-volume-transfer', 'volume-transfers']) registerCollection(app, context, collection);
}

function registerCollection(app: FastifyInstance, context: ApiContext, collection: string): void {
  const { cache } = context;
  const path = `/${collection}`;
  const summary = (request: FastifyRequest, { transferId, volumeId, name }: Summarized) => ({
    id: transferId,
    volume_id: volumeId,
    name,
    links: linksOf(request, context, `${collection}/${transferId}`),
  });
  const detail = (request: FastifyRequest, transfer: Transfer) => ({
    ...summary(request, transfer),
    created_at: timeOf(transfer.createdAt),
    ...(request.minor >= 55 && { no_snapshots: transfer.noSnapshots }),
    ...(request.minor >= 57 && {
      source_project_id: transfer.projectId,
      destination_project_id: null,
      accepted: false,
    }),
  });

  app.post<{ Body: CreateTransferBody }>(path, { schema: { body: createTransferSchema } }, async (request, reply) => {
    const { volume_id: volumeId, name, no_snapshots: noSnapshots } = request.body.transfer;
    const volume = await getVolume(cache, volumeId, { projectId: reachOf(request.caller) });
    if (volume.state === 'deleted') throw notFound(`Volume ${volumeId} could not be found.`);
    if (statusOf(volume) !== 'available') throw badRequest('Invalid volume: status must be available');
    const { key, transferId } = await createTransfer(cache, { volumeId, name, noSnapshots, ...requesterOf(request) });
    const transfer = await getTransfer(cache, transferId);
    return reply.code(202).send({ transfer: { ...detail(request, transfer), auth_key: key } });
  });

  const list = async (request: FastifyRequest<{ Querystring: Query }>) => {
    const { query, caller } = request;
    const page = pageOf(query);
    const everybody = isAdmin(caller) && isTrue(query['all_tenants']);
    return await listTransfers(cache, {
      projectId: everybody ? undefined : caller.projectId,
      name: query['name'],
      limit: page.limit,
      offset: page.offset,
      after: page.marker !== undefined && uuidPattern.test(page.marker) ? page.marker : undefined,
    });
  };
  app.get<{ Querystring: Query }>(path, async (request) => ({
    transfers: (await list(request)).map((transfer) => summary(request, transfer)),
  }));
  app.get<{ Querystring: Query }>(`${path}/detail`, async (request) => ({
    transfers: (await list(request)).map((transfer) => detail(request, transfer)),
  }));

  app.get<OfTransfer>(`${path}/:transfer_id`, async (request) => ({
    transfer: detail(request, await getTransfer(cache, idOfPath(request), { projectId: reachOf(request.caller) })),
  }));

  app.post<OfTransfer & { Body: AcceptTransferBody }>(
    `${path}/:transfer_id/accept`,
    { schema: { body: acceptTransferSchema } },
    async (request, reply) => {
      const { by, requestId } = requesterOf(request);
      const { projectId } = request.caller;
      const key = request.body.accept.auth_key;
      const accepted = await acceptTransfer(cache, idOfPath(request), { key, projectId, by, requestId });
      return reply.code(202).send({ transfer: summary(request, accepted) });
    },
  );

  app.delete<OfTransfer>(`${path}/:transfer_id`, async (request, reply) => {
    await deleteTransfer(cache, idOfPath(request), requesterOf(request));
    return reply.code(202).send();
  });
}

type Summarized = Pick<Transfer, 'transferId' | 'volumeId' | 'name'>;

/** @throws ApiError 404 */
function idOfPath({ params }: FastifyRequest): string {
  const { transfer_id: transferId } = params as OfTransfer['Params'];
  if (!uuidPattern.test(transferId)) throw notFound(`Transfer ${transferId.slice(0, 64)} could not be found.`);
  return transferId;
}
