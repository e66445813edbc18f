import { eq, sql, type SQL } from 'drizzle-orm/sql';
import type { BackendName } from '../workflows/contract/ids';
import type { Database } from './client';
import { recordEvent, type EventSource } from './events';
import { backends, type BackendRow } from './schema';
import { cast, inTransaction, json, query, readRows, readTable, type Queryable, transactionTime } from './statement';
import { areWatermarksInOrder } from '../workflows/contract/cache-limits';
import type { CacheLimitValues } from '../workflows/contract/eviction';

/** The column of each limit. */
const limitColumns = {
  enabled: 'cache_enabled',
  maxBytes: 'max_bytes',
  maxCount: 'max_count',
  freeLowWater: 'free_low_water',
  freeHighWater: 'free_high_water',
  idleAgeMs: 'idle_age_ms',
  keepSuperseded: 'keep_superseded',
  policy: 'policy',
  cloneLimit: 'clone_limit',
} as const satisfies Record<keyof CacheLimits, string>;
const limitNames = Object.keys(limitColumns) as (keyof CacheLimits)[];

export interface BackendRegistration {
  name: BackendName;
  driver: string;
  capabilities: object;
  limits: CacheLimits;
  /** The place that was opened, and the one that the row named before. Left out: the row's place stays. */
  place?: { id: string; before: string | undefined };
}

/**
 * Makes the backend known with what its driver can do now. The row rules over the configuration: a limit that an
 * operator has set stays. Idempotent. @throws Error when another worker has registered another place meanwhile.
 */
export async function registerBackend(
  database: Database,
  { name, driver, capabilities, limits, place }: BackendRegistration,
): Promise<BackendRow> {
  const placeId = place?.id ?? null;
  const unlessSet = limitNames.map((limit) => {
    const column = sql.identifier(limitColumns[limit]);
    return sql`${column} = case when ${limit} = any (backends.operator_limits) then backends.${column} else excluded.${column} end`;
  });
  const [row] = await readTable(
    database,
    backends,
    (columns) => sql`insert into backends (name, driver, capabilities, place_id, ${sql.join(
      limitNames.map((limit) => sql.identifier(limitColumns[limit])),
      sql`, `,
    )})
      values (${name}, ${driver}, ${json(capabilities)}, ${placeId}, ${sql.join(
        limitNames.map((limit) => sql`${limits[limit]}`),
        sql`, `,
      )})
      on conflict (name) do update set driver = excluded.driver, capabilities = excluded.capabilities,
        place_id = coalesce(excluded.place_id, backends.place_id), ${sql.join(unlessSet, sql`, `)}
        where excluded.place_id is null or backends.place_id is not distinct from ${place?.before ?? null}::text
          or backends.place_id = excluded.place_id
      returning ${columns}`,
  );
  if (!row && place)
    throw new Error(
      `backends.${name}: another worker has claimed another place for it meanwhile than ${place.id}; every host must see the same one`,
    );
  return registered(row, name);
}

/** More are not counted. */
const MOST_COUNTED = 10_000;

/**
 * @returns what must lie on the backend according to its rows, each counted up to ten thousand: those that may have
 * bytes there.
 */
export async function countHoldings(
  database: Database,
  { name }: { name: BackendName },
): Promise<{ volumes: number; imageVolumes: number }> {
  const counted = (rows: SQL) => cast.integer(sql`select count(*) from (${rows} limit ${MOST_COUNTED}) as counted`);
  const fields = {
    volumes: counted(sql`select from volumes where backend = ${name}
      and (state in ('creating', 'available', 'reimaging', 'deleting') or (state = 'error' and available_at is not null))`),
    imageVolumes: counted(sql`select from cache_entries where backend = ${name} and state <> 'gone'`),
  };
  const [row] = await readRows(database, fields, (columns) => sql`select ${columns}`);
  return row ?? { volumes: 0, imageVolumes: 0 };
}

/**
 * Sets some limits on behalf of `by`; from now on the configuration leaves those alone. @returns undefined when there
 * is no such backend.
 */
export async function updateLimits(
  database: Queryable,
  { name, limits, by }: { name: BackendName; limits: Partial<CacheLimits>; by: string },
): Promise<BackendRow | undefined> {
  const given = limitNames.filter((limit) => limits[limit] !== undefined);
  const changes: SQL[] = given.map((limit) => sql`${sql.identifier(limitColumns[limit])} = ${limits[limit] ?? null}`);
  const names = sql`array[${sql.join(
    given.map((limit) => sql`${limit}`),
    sql`, `,
  )}]::text[]`;
  const [row] = await readTable(
    database,
    backends,
    (
      columns,
    ) => sql`update backends set ${sql.join([...changes, sql`limits_set_by = ${by}, limits_set_at = now()`], sql`, `)},
        operator_limits = array(select distinct unnest(operator_limits || ${names}) order by 1)
      where name = ${name} returning ${columns}`,
  );
  return row;
}

/** Notes what the backend's place really has. */
export async function observeSpace(
  database: Database,
  { name, ...space }: { name: BackendName; totalBytes: number; freeBytes: number },
): Promise<void> {
  await query(database, (orm) =>
    orm
      .update(backends)
      .set({ ...space, spaceSeenAt: transactionTime })
      .where(eq(backends.name, name)),
  );
}

export async function findBackend(
  database: Database,
  { name }: { name: BackendName },
): Promise<BackendRow | undefined> {
  const [row] = await query(database, (orm) => orm.select().from(backends).where(eq(backends.name, name)));
  return row;
}

export function listBackends(database: Database): Promise<BackendRow[]> {
  return query(database, (orm) => orm.select().from(backends).orderBy(backends.name));
}

/**
 * Locks the backend's row until the transaction ends: sums over its entries that are read afterwards, in another
 * statement, hold. `no key update` lets new volumes, whose foreign key points here, be admitted meanwhile.
 */
export async function lockBackend(transaction: Queryable, { name }: { name: BackendName }): Promise<BackendRow> {
  const [row] = await readTable(
    transaction,
    backends,
    (columns) => sql`select ${columns} from backends where name = ${name} for no key update`,
  );
  return registered(row, name);
}

export function registered(row: BackendRow | undefined, name: BackendName): BackendRow {
  if (!row) throw new Error(`backend ${name} is not registered`);
  return row;
}

/**
 * One clone in so many of a parent's limit, but at least one, is kept for creates that come while the next generation
 * is populated.
 */
const MARGIN_ONE_IN = 10;
/** A parent of fewer clones has no margin: it would be a large part of it. */
const SMALLEST_WITH_MARGIN = 4;
export const NO_LIMIT = 2_147_483_647;

/**
 * @param declared what the worker's own driver declares; default: what the backend's row says of it.
 * @returns how many clones a parent on the backend may have, as SQL: the fewest that the driver, its row and the
 * operator allow.
 */
export function cloneLimitOf(backend: BackendName, declared?: number): SQL {
  return sql`coalesce((select least(${declared ?? null}::int, (b.capabilities ->> 'cloneLimit')::int, b.clone_limit) from backends b
    where b.name = ${backend}), ${sql.raw(String(NO_LIMIT))})`;
}

/**
 * @returns from how many clones on a parent is near its `limit`, so that its key's next generation is populated before
 * it is needed.
 */
export function nearCloneLimit(limit: SQL): SQL {
  const [oneIn, smallest] = [MARGIN_ONE_IN, SMALLEST_WITH_MARGIN].map((value) => sql.raw(String(value)));
  return sql`(${limit} - case when ${limit} < ${smallest} then 0 else greatest(${limit} / ${oneIn}, 1) end)`;
}

export type LimitsOutcome =
  | { kind: 'changed' }
  | { kind: 'unknown-backend' }
  /** The pair that would result. */
  | { kind: 'low-above-high'; freeLowWater: number; freeHighWater: number };
/**
 * Sets some limits on behalf of `by` if they fit to those that stay, under the lock of the backend's row. Repeated it
 * changes nothing.
 */
export async function changeLimits(
  database: Database,
  {
    backend,
    limits,
    by,
    source,
  }: { backend: BackendName; limits: Partial<CacheLimitValues>; by: string; source: EventSource },
): Promise<LimitsOutcome> {
  if ((await findBackend(database, { name: backend })) === undefined) return { kind: 'unknown-backend' };
  return await inTransaction(database, async (transaction) => {
    const row = await lockBackend(transaction, { name: backend });
    const { freeLowWater, freeHighWater } = { ...row, ...limits };
    // A pair that the configuration and an operator have made together stands in the way of no other limit.
    const isAsked = limits.freeLowWater !== undefined || limits.freeHighWater !== undefined;
    if (isAsked && !areWatermarksInOrder({ freeLowWater, freeHighWater }))
      return { kind: 'low-above-high', freeLowWater, freeHighWater };
    await updateLimits(transaction, { name: backend, limits, by });
    await recordEvent(transaction, { kind: 'limits.set', object: backend, backend, detail: { limits }, ...source, by });
    return { kind: 'changed' };
  });
}

/** The limits of one backend's cache: an operator's, and its driver's. */
export interface CacheLimits extends CacheLimitValues {
  /** Clones a parent may have; null: no limit. */
  cloneLimit: number | null;
}
