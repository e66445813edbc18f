import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Snapshot } from '../../client/records';
import { getSnapshot, getVolume, listSnapshots } from '../../client/reads';
import { changeSnapshot } from '../../client/snapshots';
import { startSnapshot, startSnapshotDelete } from '../../client/start-volume';
import { uuidPattern } from '../../workflows/contract/ids';
import {
  heldSnapshotStatuses,
  snapshotStates,
  type SnapshotOrder,
  type SnapshotState,
} from '../../workflows/contract/snapshot';
import type { ApiContext } from '../api-context';
import { isAdmin, reachOf } from '../caller';
import { idOfKey } from '../idempotency';
import { badRequest, notFound } from '../errors';
import { nextLink } from '../links';
import { orGoesOn } from '../or-goes-on';
import { pageOf, sortOf } from '../paging';
import {
  createSnapshotSchema,
  updateSnapshotSchema,
  type CreateSnapshotBody,
  type UpdateSnapshotBody,
} from '../schemas/snapshot';
import { snapshotBody, snapshotDetail, snapshotStatusOf, snapshotSummary } from '../views/snapshot';
import { statusOf } from '../views/volume';
import { requesterOf } from '../requester';
import { isTrue, type Query } from '../query';

interface OfSnapshot {
  Params: { snapshot_id: string };
}

/** From which minor version on a snapshot of a volume in use needs no force. Source: `SNAPSHOT_IN_USE`. */
const SINCE_IN_USE = 66;
const forceIsGone = `Since microversion 3.${SINCE_IN_USE} the 'force' flag is invalid for this request.  For backward compatability, however, when the 'force' flag is passed with a value evaluating to True, it is silently ignored.`;

/** `snapshots`: create, list, show, update, delete, and their actions. */
export function registerSnapshots(app: FastifyInstance, context: ApiContext): void {
  const { cache } = context;
  const shown = (request: FastifyRequest, snapshot: Snapshot) => ({ snapshot: snapshotDetail(request, snapshot) });

  app.post<{ Body: CreateSnapshotBody }>(
    '/snapshots',
    { schema: { body: createSnapshotSchema } },
    async (request, reply) => {
      const { name, display_name: displayName, description, metadata } = request.body.snapshot;
      const volumeId = await checkVolume(request, context);
      const snapshotId = idOfKey(request, 'snapshot');
      const input = { snapshotId, volumeId, name: name ?? displayName, description, metadata, ...requesterOf(request) };
      return reply.code(202).send({ snapshot: snapshotBody(request, await startSnapshot(cache, input)) });
    },
  );

  app.get<{ Querystring: Query }>('/snapshots', async (request) => await list(request, context, { detail: false }));
  app.get<{ Querystring: Query }>(
    '/snapshots/detail',
    async (request) => await list(request, context, { detail: true }),
  );

  const path = '/snapshots/:snapshot_id';
  app.get<OfSnapshot>(path, async (request) => shown(request, await snapshotOfPath(request, context)));

  app.put<OfSnapshot & { Body: UpdateSnapshotBody }>(
    path,
    { schema: { body: updateSnapshotSchema } },
    async (request) => {
      const { snapshotId } = await snapshotOfPath(request, context);
      await changeSnapshot(cache, snapshotId, { ...request.body.snapshot, ...requesterOf(request) });
      return { snapshot: snapshotBody(request, await getSnapshot(cache, snapshotId)) };
    },
  );

  app.delete<OfSnapshot>(path, async (request, reply) => {
    const { snapshotId, ...snapshot } = await snapshotOfPath(request, context);
    if (!['available', 'error'].includes(snapshotStatusOf(snapshot)))
      throw badRequest('Invalid snapshot: Snapshot status must be available or error and must not be part of a group.');
    await orGoesOn((signal) => startSnapshotDelete(cache, snapshotId, { signal, ...requesterOf(request) }));
    return reply.code(202).send();
  });
}

/** @returns the volume that a snapshot is taken of. @throws ApiError 404; 400 for one of which none is taken now. Source: `cinder.volume.api.API.create_snapshot_in_db`. */
async function checkVolume(
  request: FastifyRequest<{ Body: CreateSnapshotBody }>,
  { cache }: ApiContext,
): Promise<string> {
  const { volume_id: volumeId, force } = request.body.snapshot;
  if (volumeId === undefined) throw notFound('Volume None could not be found.');
  const volume = await getVolume(cache, volumeId, { projectId: reachOf(request.caller) });
  if (volume.state === 'deleted') throw notFound(`Volume ${volumeId} could not be found.`);
  const forceCounts = request.minor < SINCE_IN_USE;
  if (!forceCounts && force === false) throw badRequest(forceIsGone);
  const allowed = !forceCounts || force ? ['available', 'in-use'] : ['available'];
  const status = statusOf(volume);
  if (!allowed.includes(status))
    throw badRequest(
      `Invalid volume: Volume ${volumeId} status must be ${allowed.join(', ')}, but current status is: ${status}.`,
    );
  return volumeId;
}

/** @returns the snapshot of the path, if it is the caller's to see. @throws ApiError 404 */
export async function snapshotOfPath(request: FastifyRequest, { cache }: ApiContext): Promise<Snapshot> {
  const { snapshot_id: snapshotId } = request.params as OfSnapshot['Params'];
  const missing = () => notFound(`Snapshot ${snapshotId.slice(0, 64)} could not be found.`);
  if (!uuidPattern.test(snapshotId)) throw missing();
  const snapshot = await getSnapshot(cache, snapshotId, { projectId: reachOf(request.caller) });
  if (snapshot.state === 'deleted') throw missing();
  return snapshot;
}

const orders = { created_at: 'createdAt', name: 'name', display_name: 'name', id: 'id' } as const satisfies Record<
  string,
  SnapshotOrder
>;

async function list(
  request: FastifyRequest<{ Querystring: Query }>,
  { cache, ...context }: ApiContext,
  { detail }: { detail: boolean },
) {
  const { query, caller } = request;
  const page = pageOf(query);
  const everybody = isAdmin(caller) && isTrue(query['all_tenants']);
  const projectId = everybody ? query['project_id'] : caller.projectId;
  const [sort] = sortOf(query, orders) ?? [];
  if (page.marker !== undefined) await checkMarker(page.marker, { cache, projectId });
  const status = query['status'] === undefined ? {} : statusFilter(query['status']);
  const { volume_id: volumeId, name } = query;
  const isNothing = status === undefined || (volumeId !== undefined && !uuidPattern.test(volumeId));
  const rows = isNothing
    ? []
    : await listSnapshots(cache, {
        ...status,
        projectId,
        volumeId,
        name,
        metadata: metadataFilter(query['metadata']),
        sort,
        limit: page.limit,
        offset: page.offset,
        after: page.marker,
      });
  const show = detail ? snapshotDetail : snapshotSummary;
  const last = rows.at(-1);
  const link = { path: detail ? 'snapshots/detail' : 'snapshots', marker: last?.snapshotId ?? '' };
  const isFull = last !== undefined && rows.length === page.limit;
  return {
    snapshots: rows.map((row) => show(request, row)),
    ...(isFull && { snapshots_links: [nextLink(request, context, link)] }),
  };
}

async function checkMarker(
  marker: string,
  { cache, projectId }: { cache: ApiContext['cache']; projectId: string | undefined },
): Promise<void> {
  if (!uuidPattern.test(marker)) throw notFound(`Snapshot ${marker.slice(0, 64)} could not be found.`);
  await getSnapshot(cache, marker, { projectId });
}

/** @returns undefined for a status that no snapshot has. */
function statusFilter(
  status: string,
): { state: SnapshotState; status?: (typeof heldSnapshotStatuses)[number] | null } | undefined {
  const held = heldSnapshotStatuses.find((known) => known === status);
  const state = snapshotStates.find((known) => known === status);
  if (state === 'available') return { state, status: null };
  if (state !== undefined) return { state };
  return held && { state: 'available', status: held };
}

/** @returns the pairs of `{'key': 'value'}`, as clients of Python write it. @throws ApiError 400 for what is no such text. */
function metadataFilter(text: string | undefined): Record<string, string> | undefined {
  if (text === undefined) return undefined;
  const pairs = [...text.matchAll(/(['"])((?:(?!\1).)*)\1\s*:\s*u?(['"])((?:(?!\3).)*)\3/g)];
  if (!/^\s*\{.*\}\s*$/s.test(text) || pairs.length === 0)
    throw badRequest(`Invalid input received: metadata filter ${text.slice(0, 64)} is no dictionary of texts.`);
  return Object.fromEntries(pairs.map(([, , key = '', , value = '']) => [key, value]));
}
