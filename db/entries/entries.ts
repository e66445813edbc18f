import { and, desc, eq, inArray, sql } from 'drizzle-orm';
import type { BackendName, EntryId } from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import { hasKey } from '../cache-key';
import type { Database } from '../client';
import { withDatabaseErrors } from '../errors';
import { cacheEntries, entryImages, type EntryState, type EntryImageRow, type EntryRow } from '../schema';
import { columnsOf, parseRow, runStatement, uuids, type Queryable } from '../statement';
import { cloneLimitOf, nearCloneLimit } from '../backends';
import { eventColumns, eventsOf } from './entry-events';

/** @returns whether none of the key's entries has room beyond the margin of its clone limit, or is about to. */
export async function needsNextGeneration(
  database: Database,
  { backend, key }: { backend: BackendName; key: CacheKey },
): Promise<boolean> {
  const usable = await runStatement(
    database,
    sql`select 1 from cache_entries e where e.backend = ${backend} and e.short_key = ${key.short} and ${hasKey('e', key)}
      and (e.state = 'populating' or (e.state = 'ready' and e.clones < ${nearCloneLimit(cloneLimitOf(backend))})) limit 1`,
  );
  return usable.length === 0;
}

/** @param withinMs how far back, in milliseconds. @returns how many entries of the key, but for one, were quarantined since. */
export async function countQuarantines(
  database: Database,
  {
    backend,
    shortKey,
    withinMs,
    exceptEntryId,
  }: { backend: BackendName; shortKey: string; withinMs: number; exceptEntryId?: EntryId },
): Promise<number> {
  const [row] = await runStatement<{ quarantines: number }>(
    database,
    sql`select count(*) as quarantines from cache_entries where backend = ${backend} and short_key = ${shortKey} and reason = 'quarantined'
      and id is distinct from ${exceptEntryId ?? null}::uuid
      and retired_at >= now() - ${withinMs}::float8 * interval '1 millisecond'`,
  );
  return row?.quarantines ?? 0;
}

export async function findEntry(database: Queryable, { entryId }: { entryId: EntryId }): Promise<EntryRow | undefined> {
  const [row] = await runStatement(
    database,
    sql`select ${columnsOf(cacheEntries)} from cache_entries where id = ${entryId}`,
  );
  return row && parseRow(cacheEntries, row);
}

/** @returns the newest first, after `afterId` in that order; without `state`, all that are not gone. */
export function listEntries(
  database: Database,
  request: { backend?: BackendName; shortKey?: string; state?: EntryState; limit: number; afterId?: EntryId },
): Promise<EntryRow[]> {
  const { backend, shortKey, state, limit, afterId } = request;
  return withDatabaseErrors(() =>
    database.orm
      .select()
      .from(cacheEntries)
      .where(
        and(
          backend && eq(cacheEntries.backend, backend),
          shortKey ? eq(cacheEntries.shortKey, shortKey) : undefined,
          state ? eq(cacheEntries.state, state) : sql`${cacheEntries.state} <> 'gone'`,
          // Compared in the database: a Date has no microseconds. Two columns against two values: only that begins in the middle of an index.
          afterId &&
            sql`(${cacheEntries.createdAt}, ${cacheEntries.id}) < ((select created_at from cache_entries where id = ${afterId}), ${afterId}::uuid)`,
        ),
      )
      .orderBy(desc(cacheEntries.createdAt), desc(cacheEntries.id))
      .limit(limit),
  );
}

/** @returns the images that these entries serve. */
export async function listEntryImages(
  database: Database,
  { entryIds }: { entryIds: EntryId[] },
): Promise<EntryImageRow[]> {
  if (entryIds.length === 0) return [];
  return withDatabaseErrors(() =>
    database.orm
      .select()
      .from(entryImages)
      .where(inArray(entryImages.entryId, entryIds))
      .orderBy(entryImages.entryId, entryImages.imageId),
  );
}

/** More than a refusal names. */
const MOST_KEYS = 6;

/**
 * @param prefix hex digits. @returns the short keys of the backend's entries that begin so, at most six: of those that are there, else of those that
 *   are gone.
 */
export async function findKeysBeginning(
  database: Database,
  { backend, prefix }: { backend: BackendName; prefix: string },
): Promise<string[]> {
  // A range, which the index of a backend's keys begins in; "g" follows all that a key is written with.
  const rows = await runStatement<{ shortKey: string; isThere: boolean }>(
    database,
    sql`select short_key as "shortKey", bool_or(state <> 'gone') as "isThere" from cache_entries
      where backend = ${backend} and short_key >= ${prefix} and short_key < ${`${prefix}g`} and starts_with(short_key, ${prefix})
      group by short_key order by bool_or(state <> 'gone') desc, short_key limit ${MOST_KEYS}`,
  );
  const there = rows.filter(({ isThere }) => isThere);
  return (there.length > 0 ? there : rows).map(({ shortKey }) => shortKey);
}

/** @returns ready entries without a digest, the oldest first. */
export async function listUndigested(
  database: Database,
  { backend, limit }: { backend: BackendName; limit: number },
): Promise<EntryRow[]> {
  const rows = await runStatement(
    database,
    sql`select ${columnsOf(cacheEntries)} from cache_entries where backend = ${backend} and state = 'ready' and digest is null
      order by ready_at, id limit ${limit}`,
  );
  return rows.map((row) => parseRow(cacheEntries, row));
}

/** @returns ready entries with a digest, those first whose bytes were looked at longest ago. */
export async function listLeastScrubbed(
  database: Database,
  { backend, limit }: { backend: BackendName; limit: number },
): Promise<EntryRow[]> {
  const rows = await runStatement(
    database,
    sql`select ${columnsOf(cacheEntries)} from cache_entries where backend = ${backend} and state = 'ready' and digest is not null
      order by coalesce(digest_seen_at, ready_at), id limit ${limit}`,
  );
  return rows.map((row) => parseRow(cacheEntries, row));
}

/** Notes a ready entry's digest, once; whoever comes second changes nothing. */
export async function recordDigest(
  database: Database,
  { entryId, algorithm, digest }: { entryId: EntryId; algorithm: string; digest: string },
): Promise<void> {
  await runStatement(
    database,
    sql`with changed as (
        update cache_entries set digest_algorithm = ${algorithm}, digest = ${digest}, digest_seen_at = now()
        where id = ${entryId} and state = 'ready' and digest is null returning ${eventColumns}
      ) ${eventsOf('changed', { kind: 'digested', detail: `${algorithm} ${digest}` })}`,
  );
}

/** Notes that a ready entry's bytes have their digest still. */
export async function noteScrubbed(database: Database, { entryId }: { entryId: EntryId }): Promise<void> {
  await runStatement(
    database,
    sql`with changed as (
        update cache_entries set digest_seen_at = now() where id = ${entryId} and state = 'ready' returning ${eventColumns}
      ) ${eventsOf('changed', { kind: 'scrubbed', detail: 'its bytes have their digest' })}`,
  );
}

/**
 * @param containers container formats that are allowed: no part of the version, since what they hold is judged in the same way.
 * @returns ready entries that were accepted under another version of the image policy than this one, or came in another container.
 */
export async function listOfOtherPolicy(
  database: Database,
  {
    backend,
    policyVersion,
    containers,
    limit,
  }: { backend: BackendName; policyVersion: string; containers: readonly string[]; limit: number },
): Promise<EntryRow[]> {
  const rows = await runStatement(
    database,
    sql`select ${columnsOf(cacheEntries)} from cache_entries where backend = ${backend} and state = 'ready'
      and (policy_version is distinct from ${policyVersion}
        or not (container_format = any (array(select jsonb_array_elements_text(${JSON.stringify(containers)}::jsonb)))))
      order by id limit ${limit}`,
  );
  return rows.map((row) => parseRow(cacheEntries, row));
}

/** Notes that a ready entry is allowed under this version too. Idempotent. */
export async function renewPolicyVersion(
  database: Database,
  { entryId, policyVersion }: { entryId: EntryId; policyVersion: string },
): Promise<void> {
  await runStatement(
    database,
    sql`update cache_entries set policy_version = ${policyVersion} where id = ${entryId} and state = 'ready'`,
  );
}

export interface CacheSums {
  /** What counts against `maxBytes`: populating, ready, and what was marked for deletion but is not confirmed gone. */
  bytes: number;
  /** What counts against `maxCount`. */
  count: number;
  /** Of `bytes`, what running populations have reserved. */
  reservedBytes: number;
  /** Retired parents that live clones hold; outside of the limits. */
  pinnedBytes: number;
}

/** @returns the sums of one backend's cache; they hold only under the lock of its row, else they are a view of a moment. */
export async function readSums(on: Queryable, { backend }: { backend: BackendName }): Promise<CacheSums> {
  const [row] = await runStatement<CacheSums & Record<string, unknown>>(
    on,
    sql`select
        coalesce(sum(real_bytes) filter (where counted), 0)::bigint as bytes,
        count(*) filter (where counted) as count,
        coalesce(sum(real_bytes) filter (where state = 'populating'), 0)::bigint as "reservedBytes",
        coalesce(sum(real_bytes) filter (where not counted), 0)::bigint as "pinnedBytes"
      from cache_entries where backend = ${backend} and state <> 'gone'`,
  );
  return row ? { ...row } : { bytes: 0, count: 0, reservedBytes: 0, pinnedBytes: 0 };
}

/** @returns those of the entries that a create holds: asked in a statement of its own, after the entries were locked. */
export async function findLeased(on: Queryable, entryIds: EntryId[]): Promise<Set<EntryId>> {
  if (entryIds.length === 0) return new Set();
  const rows = await runStatement<{ entry_id: EntryId }>(
    on,
    sql`select distinct entry_id from volumes where entry_id = any (${uuids(entryIds)}) and holds_entry and state in ('creating', 'deleting')
      and (state = 'creating' or (state = 'deleting' and state_before_delete = 'creating'))`,
  );
  return new Set(rows.map((row) => row.entry_id));
}
