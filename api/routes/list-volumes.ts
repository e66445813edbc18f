import type { FastifyInstance, FastifyRequest } from 'fastify';
import { getVolume, listVolumes } from '../../client/reads';
import { uuidPattern } from '../../workflows/contract/ids';
import type { VolumeOrder } from '../../workflows/contract/volume-changes';
import type { ApiContext } from '../api-context';
import { reachOf } from '../caller';
import { notFound } from '../errors';
import { nextLink } from '../links';
import { pageOf, sortOf } from '../paging';
import { isTrue, type Query } from '../query';
import { volumeConditionOf } from '../volume-filters';
import { volumeDetail, volumeSummary } from '../views/volume';

type ListRequest = FastifyRequest<{ Querystring: Query }>;

/** From these minor versions on. */
const COUNT_SINCE = 45;
const SUMMARY_SINCE = 12;
const SUMMARY_METADATA_SINCE = 36;

/** `volumes`: lists and their summary. */
export function registerVolumeLists(app: FastifyInstance, context: ApiContext): void {
  app.get<{ Querystring: Query }>('/volumes', async (request) => await list(request, context, { detail: false }));
  app.get<{ Querystring: Query }>('/volumes/detail', async (request) => await list(request, context, { detail: true }));
  app.get<{ Querystring: Query }>('/volumes/summary', async (request) => await summarize(request, context));
}

const orders = {
  created_at: 'createdAt',
  updated_at: 'updatedAt',
  name: 'name',
  display_name: 'name',
  size: 'sizeBytes',
  status: 'state',
  bootable: 'bootable',
  id: 'id',
} as const satisfies Record<string, VolumeOrder>;

async function list(request: ListRequest, context: ApiContext, { detail }: { detail: boolean }) {
  const { query, minor } = request;
  const page = pageOf(query);
  const sort = sortOf(query, orders);
  const condition = volumeConditionOf(request, context);
  if (page.marker !== undefined) await checkMarker(request, context, page.marker);
  const { limit, offset, marker: after } = page;
  const rows = limit === 0 ? [] : await listVolumes(context.cache, { ...condition, sort, limit, offset, after });
  const isCounted = minor >= COUNT_SINCE && isTrue(query['with_count']);
  const show = detail ? volumeDetail : volumeSummary;
  const last = rows.at(-1);
  const path = detail ? 'volumes/detail' : 'volumes';
  return {
    volumes: rows.map((row) => show(request, context, row)),
    ...(isCounted && { count: (await (await context.cache.inventory()).totalVolumes(condition)).count }),
    ...(last !== undefined &&
      rows.length === limit && { volumes_links: [nextLink(request, context, { path, marker: last.volumeId })] }),
  };
}

/** @throws ApiError 404, ImageVolumeCacheError `VolumeNotFound` */
async function checkMarker({ caller }: ListRequest, { cache }: ApiContext, marker: string): Promise<void> {
  if (!uuidPattern.test(marker)) throw notFound(`Volume ${marker.slice(0, 64)} could not be found.`);
  await getVolume(cache, marker, { projectId: reachOf(caller) });
}

async function summarize(request: ListRequest, context: ApiContext) {
  const { minor } = request;
  if (minor < SUMMARY_SINCE) throw notFound('The resource could not be found.');
  const inventory = await context.cache.inventory();
  const withMetadata = minor >= SUMMARY_METADATA_SINCE;
  const { count, sizeGiB, metadata } = await inventory.totalVolumes({
    ...volumeConditionOf(request, context),
    withMetadata,
  });
  return { 'volume-summary': { total_count: count, total_size: sizeGiB, ...(withMetadata && { metadata }) } };
}
