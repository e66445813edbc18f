import { and, eq, or, sql, type SQL } from 'drizzle-orm/sql';
import { GiB } from '../workflows/contract/bytes';
import type { BackendName, ImageId, ProjectId, VolumeId } from '../workflows/contract/ids';
import type { HeldStatus, VolumeState } from '../workflows/contract/volume';
import type { VolumeOrder, VolumeSort } from '../workflows/contract/volume-changes';
import { isCalled } from './called';
import type { Database } from './client';
import { volumes, type VolumeRow } from './schema';
import { isInScope, type ProjectScope } from './scope';
import { cast, isLiteral, json, query, readRows, readTable } from './statement';

/** A condition that the rows of one status meet; a field after `state` is there where its values would be two statuses. */
export interface StatusCondition {
  state: VolumeState;
  status?: HeldStatus | null;
  isReimaging?: boolean;
  ofImage?: boolean;
}

const comparisons = { gt: '>', gte: '>=', eq: '=', neq: '<>', lt: '<', lte: '<=' } as const;

/** An instant that a row's is compared with, RFC 3339. */
export interface TimeCondition {
  comparison: keyof typeof comparisons;
  at: string;
}

export interface VolumeSelection {
  backend?: BackendName;
  state?: VolumeState;
  /** One of them; with none there is no such volume. */
  statuses?: readonly StatusCondition[];
  imageId?: ImageId;
  name?: string;
  /** A part of the name. */
  nameContains?: string;
  /** A name, or the beginning of an id. */
  called?: string;
  /** Rounded up, as clients count. */
  sizeGiB?: number;
  bootable?: boolean;
  /** Those that have all of it. */
  metadata?: Record<string, string>;
  /** As `metadata`, of what is known of the image. */
  imageMetadata?: Record<string, string>;
  createdAt?: readonly TimeCondition[];
  updatedAt?: readonly TimeCondition[];
}

/** Orders of a list, each by what stands in its rows; equal ones follow each other by their ids. */
const orders = {
  createdAt: sql`created_at`,
  updatedAt: sql`updated_at`,
  name: sql`coalesce(name, '')`,
  sizeBytes: sql`coalesce(size_bytes, 0)`,
  state: sql`state`,
  bootable: sql`bootable`,
  id: sql`id`,
} satisfies Record<VolumeOrder, SQL>;

/**
 * @param sort the first one counts first; default: the newest first.
 * @returns those after `afterId` in that order; deleted ones only when `state` asks for them.
 */
export function selectVolumes(
  database: Database,
  {
    scope,
    limit,
    afterId,
    offset = 0,
    sort,
    ...selection
  }: VolumeSelection & {
    scope: ProjectScope;
    sort?: VolumeSort | readonly VolumeSort[];
    limit: number;
    offset?: number;
    afterId?: VolumeId;
  },
): Promise<VolumeRow[]> {
  const keys = keysOf(sort);
  // Where another project's volume stands in that order is not told.
  const placeOf = (by: VolumeOrder) =>
    by === 'id'
      ? sql`${afterId}::uuid`
      : sql`(select ${orders[by]} from volumes v where v.id = ${afterId} and ${isInScope(sql`v.project_id`, scope)})`;
  const where = and(isInScope(volumes.projectId, scope), isSelected(selection), afterId && follows(keys, placeOf));
  const order = sql.join(
    keys.map(({ by, descending }) => sql`${orders[by]} ${sql.raw(descending ? 'desc' : 'asc')}`),
    sql`, `,
  );
  // Not by the builder, whose loading is a third of what a list costs.
  return readTable(
    database,
    volumes,
    (columns) => sql`select ${columns} from volumes where ${where} order by ${order} limit ${limit} offset ${offset}`,
  );
}

export interface VolumeTotals {
  count: number;
  /** Each volume rounded up. */
  sizeGiB: number;
  /** Every key of their metadata, with its different values; empty where it is not asked for. */
  metadata: Record<string, string[]>;
}

/** @returns how many volumes there are, how large they are together, and, where it is asked for, what metadata they have. */
export async function totalVolumes(
  database: Database,
  { scope, withMetadata = false, ...selection }: VolumeSelection & { scope: ProjectScope; withMetadata?: boolean },
): Promise<VolumeTotals> {
  const fields = {
    count: cast.integer(sql`count(*)`),
    sizeGiB: cast.integer(sql`coalesce(sum(ceil(coalesce(size_bytes, 0) / ${sql.raw(String(GiB))}::numeric)), 0)`),
  };
  const where = and(isInScope(volumes.projectId, scope), isSelected(selection));
  const [totals = { count: 0, sizeGiB: 0 }] = await query(database, (orm) =>
    orm.select(fields).from(volumes).where(where),
  );
  if (!withMetadata) return { ...totals, metadata: {} };
  const rows = await readRows(
    database,
    { key: cast.text(sql`item.key`), values: cast.json<string[]>(sql`jsonb_agg(distinct item.value)`) },
    (columns) => sql`with chosen as (
        select metadata from volumes where ${isInScope(volumes.projectId, scope)} and ${isSelected(selection)}
      ) select ${columns} from chosen, jsonb_each_text(metadata) item group by item.key order by item.key`,
  );
  return { ...totals, metadata: Object.fromEntries(rows.map(({ key, values }) => [key, values])) };
}

/** Totals of a project on a backend, each volume and snapshot rounded up. */
export interface ProjectTotals {
  projectId: ProjectId;
  volumes: number;
  volumesGiB: number;
  snapshots: number;
  snapshotsGiB: number;
}

/** @returns what each project that has anything on a backend has there, for operators. */
export function readProjectTotals(database: Database, { backend }: { backend: BackendName }): Promise<ProjectTotals[]> {
  const fields = {
    projectId: cast.text<ProjectId>(sql`project_id`),
    volumes: cast.integer(sql`sum(volumes)`),
    volumesGiB: cast.integer(sql`sum(volumes_gib)`),
    snapshots: cast.integer(sql`sum(snapshots)`),
    snapshotsGiB: cast.integer(sql`sum(snapshots_gib)`),
  };
  const gib = sql`ceil(coalesce(size_bytes, 0) / ${sql.raw(String(GiB))}::numeric)`;
  return readRows(
    database,
    fields,
    (columns) => sql`select ${columns} from (
        select project_id, 1 as volumes, ${gib} as volumes_gib, 0 as snapshots, 0 as snapshots_gib
        from volumes where backend = ${backend} and state <> 'deleted'
        union all
        select project_id, 0, 0, 1, ${gib} from snapshots where backend = ${backend} and state <> 'deleted'
      ) had group by project_id order by project_id`,
  );
}

function isSelected(selection: VolumeSelection): SQL | undefined {
  const { backend, state, statuses, imageId, name, nameContains, called, sizeGiB, bootable } = selection;
  const { metadata, imageMetadata, createdAt = [], updatedAt = [] } = selection;
  return and(
    backend && eq(volumes.backend, backend),
    imageId && eq(volumes.imageId, imageId),
    name === undefined ? undefined : eq(volumes.name, name),
    nameContains === undefined ? undefined : sql`strpos(${volumes.name}, ${nameContains}) > 0`,
    called === undefined ? undefined : isCalled(called, volumes),
    sizeGiB === undefined ? undefined : isOfSize(sizeGiB),
    bootable === undefined ? undefined : eq(volumes.bootable, bootable),
    metadata && sql`${volumes.metadata} @> ${json(metadata)}`,
    imageMetadata && sql`${volumes.imageMetadata} @> ${json(imageMetadata)}`,
    ...createdAt.map((condition) => isAt(sql`${volumes.createdAt}`, condition)),
    ...updatedAt.map((condition) => isAt(sql`${volumes.updatedAt}`, condition)),
    statuses && (statuses.length === 0 ? sql`false` : or(...statuses.map(hasStatus))),
    // Not a parameter: a plan for all values could not use the index of what is not deleted.
    state ? eq(volumes.state, state) : sql`${volumes.state} <> 'deleted'`,
  );
}

function isOfSize(sizeGiB: number): SQL {
  const [above, upTo] = [(sizeGiB - 1) * GiB, sizeGiB * GiB];
  return sql`${volumes.sizeBytes} > ${above}::bigint and ${volumes.sizeBytes} <= ${upTo}::bigint`;
}

function isAt(column: SQL, { comparison, at }: TimeCondition): SQL {
  return sql`${column} ${sql.raw(comparisons[comparison])} ${at}::timestamptz`;
}

const reimageOf = sql`select 1 from reimages where reimages.volume_id = ${volumes.id}`;

function hasStatus({ state, status, isReimaging, ofImage }: StatusCondition): SQL | undefined {
  return and(
    isLiteral(volumes.state, state),
    status === undefined ? undefined : status === null ? sql`${volumes.status} is null` : eq(volumes.status, status),
    isReimaging === undefined ? undefined : sql`${sql.raw(isReimaging ? '' : 'not ')}exists (${reimageOf})`,
    ofImage === undefined ? undefined : sql`(${volumes.imageId} is not null) = ${ofImage}::boolean`,
  );
}

/** Ends with the id, which is in the direction of the first. */
function keysOf(sort: VolumeSort | readonly VolumeSort[] | undefined): VolumeSort[] {
  const given = sort === undefined ? [] : 'by' in sort ? [sort] : [...sort];
  const keys: VolumeSort[] = given.length === 0 ? [{ by: 'createdAt', descending: true }] : given;
  const descending = keys[0]?.descending ?? true;
  return keys.some(({ by }) => by === 'id') ? keys : [...keys, { by: 'id', descending }];
}

/**
 * Compared in the database: a Date has no microseconds. Columns against values, where all are in one direction: only that
 * begins in the middle of an index. @param placeOf what the row has by which the others follow.
 */
function follows(keys: readonly VolumeSort[], placeOf: (by: VolumeOrder) => SQL): SQL {
  const signOf = ({ descending }: VolumeSort) => sql.raw(descending ? '<' : '>');
  const list = (items: SQL[]) => sql.join(items, sql`, `);
  const [first] = keys;
  if (first !== undefined && keys.every(({ descending }) => descending === first.descending))
    return sql`(${list(keys.map(({ by }) => orders[by]))}) ${signOf(first)} (${list(keys.map(({ by }) => placeOf(by)))})`;
  const after = keys.map((key, index) => {
    const equal = keys.slice(0, index).map(({ by }) => sql`${orders[by]} = ${placeOf(by)}`);
    return sql`(${sql.join([...equal, sql`${orders[key.by]} ${signOf(key)} ${placeOf(key.by)}`], sql` and `)})`;
  });
  return sql`(${sql.join(after, sql` or `)})`;
}
