import { and, desc, eq, inArray, isNotNull, isNull, ne, sql, type SQL } from 'drizzle-orm/sql';
import { isCalled } from '../called';
import type { BackendName, EntryId } from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import { hasKey } from '../key-columns';
import type { Database } from '../client';
import { cacheEntries, entryImages, volumes, type EntryState, type EntryImageRow, type EntryRow } from '../schema';
import { cast, isLiteral, query, runStatement, texts, uuids, type Queryable } from '../statement';
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
  return usable === 0;
}

/**
 * @param withinMs how far back, in milliseconds. @returns how many entries of the key, but for one, were quarantined
 * since.
 */
export function countQuarantines(
  database: Database,
  {
    backend,
    shortKey,
    withinMs,
    exceptEntryId,
  }: { backend: BackendName; shortKey: string; withinMs: number; exceptEntryId?: EntryId },
): Promise<number> {
  return query(database, (orm) =>
    orm.$count(
      cacheEntries,
      and(
        eq(cacheEntries.backend, backend),
        eq(cacheEntries.shortKey, shortKey),
        eq(cacheEntries.reason, 'quarantined'),
        exceptEntryId && ne(cacheEntries.id, exceptEntryId),
        sql`${cacheEntries.retiredAt} >= now() - ${withinMs}::float8 * interval '1 millisecond'`,
      ),
    ),
  );
}

export async function findEntry(database: Queryable, { entryId }: { entryId: EntryId }): Promise<EntryRow | undefined> {
  const [row] = await query(database, (orm) => orm.select().from(cacheEntries).where(eq(cacheEntries.id, entryId)));
  return row;
}

/** @returns the newest first, after `afterId` in that order; without `state`, all that are not gone. */
export function listEntries(
  database: Database,
  request: {
    backend?: BackendName;
    shortKey?: string;
    state?: EntryState;
    /** The name of an image-volume, or the beginning of an id. */
    called?: string;
    limit: number;
    afterId?: EntryId;
  },
): Promise<EntryRow[]> {
  const { backend, shortKey, state, called, limit, afterId } = request;
  const where = and(
    backend && eq(cacheEntries.backend, backend),
    shortKey ? eq(cacheEntries.shortKey, shortKey) : undefined,
    state ? eq(cacheEntries.state, state) : sql`${cacheEntries.state} <> 'gone'`,
    called === undefined ? undefined : isCalled(called, { id: cacheEntries.id, name: cacheEntries.imageVolume }),
    // Compared in the database: a Date has no microseconds. Two columns against two values: only that begins in the
    // middle of an index.
    afterId &&
      sql`(${cacheEntries.createdAt}, ${cacheEntries.id}) < ((select created_at from cache_entries where id = ${afterId}), ${afterId}::uuid)`,
  );
  return query(database, (orm) =>
    orm
      .select()
      .from(cacheEntries)
      .where(where)
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
  const where = inArray(entryImages.entryId, entryIds);
  return query(database, (orm) =>
    orm.select().from(entryImages).where(where).orderBy(entryImages.entryId, entryImages.imageId),
  );
}

/** More than a refusal names. */
const MOST_KEYS = 6;

/**
 * @param prefix hex digits. @returns the short keys of the backend's entries that begin so, at most six: of those that
 * are there, else of those that
 *   are gone.
 */
export async function findKeysBeginning(
  database: Database,
  { backend, prefix }: { backend: BackendName; prefix: string },
): Promise<string[]> {
  // A range, which the index of a backend's keys begins in; "g" follows all that a key is written with.
  const { shortKey: key, state } = cacheEntries;
  const isThere = cast.boolean(sql`bool_or(${state} <> 'gone')`);
  const where = sql`${cacheEntries.backend} = ${backend} and ${key} >= ${prefix} and ${key} < ${`${prefix}g`} and starts_with(${key}, ${prefix})`;
  const rows = await query(database, (orm) =>
    orm
      .select({ shortKey: key, isThere })
      .from(cacheEntries)
      .where(where)
      .groupBy(key)
      .orderBy(desc(isThere), key)
      .limit(MOST_KEYS),
  );
  const there = rows.filter((row) => row.isThere);
  return (there.length > 0 ? there : rows).map(({ shortKey }) => shortKey);
}

/** @returns ready entries without a digest, the oldest first. */
export function listUndigested(
  database: Database,
  { backend, limit }: { backend: BackendName; limit: number },
): Promise<EntryRow[]> {
  const where = and(isReadyOn(backend), isNull(cacheEntries.digest));
  return query(database, (orm) =>
    orm.select().from(cacheEntries).where(where).orderBy(cacheEntries.readyAt, cacheEntries.id).limit(limit),
  );
}

/** @returns ready entries with a digest, those first whose bytes were read longest ago. */
export function listLeastScrubbed(
  database: Database,
  { backend, limit }: { backend: BackendName; limit: number },
): Promise<EntryRow[]> {
  const { digest, digestSeenAt, readyAt, id } = cacheEntries;
  const where = and(isReadyOn(backend), isNotNull(digest));
  return query(database, (orm) =>
    orm
      .select()
      .from(cacheEntries)
      .where(where)
      .orderBy(sql`coalesce(${digestSeenAt}, ${readyAt})`, id)
      .limit(limit),
  );
}

function isReadyOn(backend: BackendName) {
  return and(eq(cacheEntries.backend, backend), isLiteral(cacheEntries.state, 'ready'));
}

/** Notes a ready entry's digest, once; a second call changes nothing. */
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
 * @param containers allowed container formats; they are no part of the version.
 * @returns ready entries that were accepted under another version of the image policy than this one, or came in another
 * container.
 */
export function listOfOtherPolicy(
  database: Database,
  {
    backend,
    policyVersion,
    containers,
    limit,
  }: { backend: BackendName; policyVersion: string; containers: readonly string[]; limit: number },
): Promise<EntryRow[]> {
  const isOther = sql`(${cacheEntries.policyVersion} is distinct from ${policyVersion}
    or not (${cacheEntries.containerFormat} = any (${texts(containers)})))`;
  const where = and(isReadyOn(backend), isOther);
  return query(database, (orm) => orm.select().from(cacheEntries).where(where).orderBy(cacheEntries.id).limit(limit));
}

/** Notes that a ready entry is allowed under this version too. Idempotent. */
export async function renewPolicyVersion(
  database: Database,
  { entryId, policyVersion }: { entryId: EntryId; policyVersion: string },
): Promise<void> {
  const where = and(eq(cacheEntries.id, entryId), isLiteral(cacheEntries.state, 'ready'));
  await query(database, (orm) => orm.update(cacheEntries).set({ policyVersion }).where(where));
}

export interface CacheSums {
  /** Against `maxBytes`: entries that are populating, ready, or marked for deletion and not confirmed gone. */
  bytes: number;
  /** Against `maxCount`. */
  count: number;
  /** Of `bytes`, what running populations have reserved. */
  reservedBytes: number;
  /** Retired parents that live clones hold; outside of the limits. */
  pinnedBytes: number;
}

/**
 * @returns the sums of one backend's cache; they hold only under the lock of its row, else they are a view of a moment.
 */
export async function readSums(on: Queryable, { backend }: { backend: BackendName }): Promise<CacheSums> {
  const bytesWhere = (those: SQL) => cast.integer(sql`coalesce(sum(real_bytes) filter (where ${those}), 0)`);
  const sums = {
    bytes: bytesWhere(sql`counted`),
    count: cast.integer(sql`count(*) filter (where counted)`),
    reservedBytes: bytesWhere(sql`state = 'populating'`),
    pinnedBytes: bytesWhere(sql`not counted`),
  };
  const where = sql`${cacheEntries.backend} = ${backend} and ${cacheEntries.state} <> 'gone'`;
  const [row] = await query(on, (orm) => orm.select(sums).from(cacheEntries).where(where));
  return row ?? { bytes: 0, count: 0, reservedBytes: 0, pinnedBytes: 0 };
}

/**
 * @returns those of the entries that a create holds. Exact in a statement of its own, after the entries were locked.
 */
export async function findLeased(on: Queryable, entryIds: EntryId[]): Promise<Set<EntryId>> {
  if (entryIds.length === 0) return new Set();
  const { entryId, holdsEntry, state, stateBeforeDelete } = volumes;
  const where = sql`${entryId} = any (${uuids(entryIds)}) and ${holdsEntry} and ${state} in ('creating', 'deleting')
        and (${state} = 'creating' or ${stateBeforeDelete} = 'creating')`;
  const rows = await query(on, (orm) => orm.selectDistinct({ entryId }).from(volumes).where(where));
  return new Set(rows.flatMap((row) => row.entryId ?? []));
}
