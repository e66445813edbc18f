import type { FastifyRequest } from 'fastify';
import type { TimeCondition, VolumeCondition } from '../client/inventory';
import type { ApiContext } from './api-context';
import { isAdmin, type ApiCaller } from './caller';
import { badRequest } from './errors';
import { dictionaryOf } from './python-literal';
import { resourceFilters } from './resource-filters';
import { isTrue, type Query } from './query';
import { conditionsOf } from './views/volume';

/** From these minor versions on a filter is known; before it is left out of account. Source: `MV_ADDED_FILTERS` of Cinder. */
const since: Record<string, number> = { glance_metadata: 4, group_id: 10, created_at: 60, updated_at: 60 };
/** From here on who does not administer is refused a filter that he may not use. */
const REFUSED_SINCE = 31;
const LIKE_SINCE = 34;
const STRICT_BOOLEANS_SINCE = 2;

/** Of a list, and no filters. */
const pageKeys = ['limit', 'marker', 'offset', 'sort', 'sort_key', 'sort_dir', 'with_count', 'all_tenants'];

/** A condition that no volume meets. */
const nothing = { statuses: [] } satisfies VolumeCondition;

type Filter = (value: string, context: Pick<ApiContext, 'availabilityZone'>, minor: number) => VolumeCondition;

const filters: Record<string, Filter> = {
  name: (name) => ({ name }),
  display_name: (name) => ({ name }),
  'name~': (nameContains, _context, minor) => (minor >= LIKE_SINCE ? { nameContains } : {}),
  status: (status) => ({ statuses: conditionsOf(status) }),
  metadata: (text) => dictionaryFilter(text, (metadata) => ({ metadata })),
  glance_metadata: (text) => dictionaryFilter(text, (imageMetadata) => ({ imageMetadata })),
  bootable: (text, _context, minor) => ({ bootable: booleanOf('bootable', text, minor) }),
  availability_zone: (zone, { availabilityZone }) => (zone === availabilityZone ? {} : nothing),
  size: (text) => (/^\d{1,10}$/.test(text) ? { sizeGiB: Number(text) } : nothing),
  created_at: (text) => ({ createdAt: timesOf('created_at', text) }),
  updated_at: (text) => ({ updatedAt: timesOf('updated_at', text) }),
  consumes_quota: (text) => (isTrue(text) ? {} : nothing),
  // No volume of ours is in a group, and none migrates.
  migration_status: () => nothing,
  group_id: () => nothing,
};

/**
 * @returns which volumes a query asks for, of whose projects.
 * @throws ApiError 400 for a value that is none, and for a filter that the caller may not use.
 */
export function volumeConditionOf(
  request: FastifyRequest<{ Querystring: Query }>,
  context: Pick<ApiContext, 'availabilityZone'>,
): VolumeCondition {
  const { query, caller, minor } = request;
  const everybody = isAdmin(caller) && isTrue(query['all_tenants']);
  const keys = Object.keys(query).filter((key) => !pageKeys.includes(key) && !(everybody && key === 'project_id'));
  checkAllowed(keys, caller, minor);
  const conditions = keys.map((key): VolumeCondition => {
    const filter = Object.hasOwn(filters, key) ? filters[key] : undefined;
    if (minor < (since[key] ?? 0)) return {};
    if (filter === undefined) return isAdmin(caller) ? nothing : {};
    return filter(query[key] ?? '', context, minor);
  });
  const isNone = conditions.some(({ statuses }) => statuses?.length === 0);
  const projectId = everybody ? query['project_id'] : caller.projectId;
  return Object.assign({ projectId }, ...conditions, isNone ? nothing : {});
}

/** An administrator's filter that nothing has selects nothing. */
function checkAllowed(keys: readonly string[], caller: ApiCaller, minor: number): void {
  if (minor < REFUSED_SINCE || isAdmin(caller)) return;
  const invalid = keys.filter((key) => !resourceFilters.volume.includes(key) && key !== 'project_id');
  if (invalid.length > 0) throw badRequest(`Invalid filters ${invalid.join(',')} are found in query options.`);
}

function dictionaryFilter(text: string, of: (found: Record<string, string>) => VolumeCondition): VolumeCondition {
  const found = dictionaryOf(text);
  return found === undefined ? nothing : of(found);
}

/** Before 3.2 all that is not false is true. Source: `_check_boolean_filter_value` of Cinder. */
function booleanOf(key: string, text: string, minor: number): boolean {
  const value = text.trim().toLowerCase();
  if (minor < STRICT_BOOLEANS_SINCE) return value !== 'false';
  if (isTrue(value)) return true;
  if (['0', 'f', 'false', 'off', 'n', 'no'].includes(value)) return false;
  throw badRequest(`Invalid input received: '${key} = ${text.slice(0, 64)}'`);
}

const comparisons = ['gt', 'gte', 'eq', 'neq', 'lt', 'lte'] as const;

/** @param text such as `gt:2026-01-01T00:00:00,lte:2026-02-01T00:00:00`. */
function timesOf(key: string, text: string): TimeCondition[] {
  return text.split(',').map((unit) => {
    const colon = unit.indexOf(':');
    if (colon < 0) throw badRequest(`Invalid ${key} value`);
    const [operator, at] = [unit.slice(0, colon), unit.slice(colon + 1)];
    const comparison = comparisons.find((known) => known === operator);
    if (comparison === undefined) throw badRequest(`Invalid ${operator.slice(0, 64)} operator`);
    return { comparison, at: instantOf(at) };
  });
}

/** Without an offset it is UTC. */
function instantOf(text: string): string {
  const isInstant = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?$/.test(text);
  const hasOffset = /(?:Z|[+-]\d\d:?\d\d)$/.test(text.slice(10));
  const given = isInstant && !hasOffset && text.includes('T') ? `${text}Z` : text;
  if (!isInstant || Number.isNaN(Date.parse(given))) throw badRequest(`Invalid ${text.slice(0, 64)} value`);
  return given;
}
