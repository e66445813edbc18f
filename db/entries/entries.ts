import { randomUUID } from 'node:crypto';
import { and, desc, eq, inArray, sql, type SQL } from 'drizzle-orm';
import type { BackendName, EntryId, ImageId, ProjectId } from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import { hasKey, keyColumnNames, keyValues } from '../cache-key';
import { cloneLimitOf, nearCloneLimit } from '../clone-limit';
import type { Database } from '../client';
import { withDatabaseErrors } from '../errors';
import { cacheEntries, entryImages, type EntryState, type RetireReason } from '../schema';
import { columnsOf, inTransaction, parseRow, runStatement, uuids, type Queryable } from '../statement';
import type { BackendRow, EntryImageRow, EntryRow } from '../types';
import { lockBackend } from '../backends';
import { eventColumns, eventsOf } from './entry-events';
import { findLeased, readSums } from './entry-sums';

export { findLeased, sums, type CacheSums } from './entry-sums';

export interface ReservationRequest {
  backend: BackendName;
  key: CacheKey;
  /** The worst case of what the image-volume takes on the backend. */
  bytes: number;
  flight: number;
  workflowId: string;
  policyVersion: string;
  /** Stored bytes of the image. */
  imageBytes?: number;
  /** Default: `image-volume-`. */
  imageVolumeNamePrefix?: string;
  /** Set by who has reserved already and has learned that it needs more: no other entry is made for it. */
  entryId?: EntryId;
}

export type ReservationOutcome =
  | { kind: 'reserved'; entry: EntryRow }
  /** A ready entry of this key takes clones already. */
  | { kind: 'ready'; entry: EntryRow }
  /** What would have to be given back first. */
  | { kind: 'no-room'; neededBytes: number; neededCount: number }
  | { kind: 'too-large'; maxBytes: number }
  | { kind: 'cache-off' }
  /** The reservation that `entryId` names was given up, or is ready. */
  | { kind: 'given-up'; state: EntryState | 'absent' };

/**
 * Makes the key's next entry, `populating`, its bytes counted in the transaction that checked them: limits never overshoot.
 * Repeated for one workflow id, by a later run too, it returns the same entry. Undo: `abandonReservation`.
 */
export function insertPopulatingEntry(database: Database, request: ReservationRequest): Promise<ReservationOutcome> {
  return inTransaction(database, async (transaction) => {
    const backend = await lockBackend(transaction, { name: request.backend });
    return reserve(transaction, { backend, request });
  });
}

/**
 * As `insertPopulatingEntry`, after these victims that were marked for this workflow were deleted on the backend: they become `gone` in the same transaction,
 * so their bytes are never counted twice and nobody else can take them in between.
 */
export function reserveFreed(
  database: Database,
  { freedEntryIds, ...request }: ReservationRequest & { freedEntryIds: EntryId[] },
): Promise<ReservationOutcome> {
  return inTransaction(database, async (transaction) => {
    const backend = await lockBackend(transaction, { name: request.backend });
    await runStatement(
      transaction,
      gone(sql`id = any (${uuids(freedEntryIds)}) and reserved_for = ${request.workflowId}`, request.workflowId),
    );
    return reserve(transaction, { backend, request });
  });
}

export type RegisterOutcome =
  | { kind: 'ready'; entry: EntryRow }
  | { kind: 'not-populating'; state: EntryState | 'absent' }
  /** It is larger than what was reserved for it, and the limits have no room for that. */
  | { kind: 'no-room' };

interface Registration {
  entryId: EntryId;
  virtualBytes: number;
  realBytes: number;
  costSeconds: number;
  imageId: ImageId;
  projectId: ProjectId;
  workflowId?: string;
}

/** `populating -> ready` with what was measured, within the limits; a `ready` entry stays as it is and is returned. */
export function registerReady(database: Database, request: Registration): Promise<RegisterOutcome> {
  return inTransaction(database, async (transaction) => {
    const found = await findEntry(transaction, request);
    if (found?.state === 'populating' && !(await fitsReservation(transaction, found, request)))
      return { kind: 'no-room' };
    return await register(transaction, request);
  });
}

/** What is no larger than its reservation fits. A file system's own blocks for a file are nothing that a guest could enlarge. */
async function fitsReservation(
  transaction: Queryable,
  { backend: name, realBytes: reservedBytes }: EntryRow,
  { virtualBytes, realBytes }: Registration,
): Promise<boolean> {
  if (virtualBytes <= reservedBytes) return true;
  const backend = await lockBackend(transaction, { name });
  const used = await readSums(transaction, name);
  return used.bytes - reservedBytes + realBytes <= backend.maxBytes;
}

async function register(transaction: Queryable, request: Registration): Promise<RegisterOutcome> {
  const [row] = await runStatement(
    transaction,
    sql`with registered as (
        update cache_entries e set state = 'ready', virtual_bytes = ${request.virtualBytes}, real_bytes = ${request.realBytes},
          cost_seconds = ${request.costSeconds}, ready_at = now(), last_used_at = now(), reserved_for = null,
          priority_base = b.eviction_clock, priority = b.eviction_clock
        from backends b where e.id = ${request.entryId} and e.state = 'populating' and b.name = e.backend
        returning ${columnsOf(cacheEntries, 'e')}
      ), noted as (
        ${eventsOf(sql`registered`, { kind: 'registered', reason: sql`null`, detail: `image ${request.imageId}`, workflowId: request.workflowId })}
      ), served as (
        insert into entry_images (entry_id, image_id, project_id) select id, ${request.imageId}, ${request.projectId} from registered
        on conflict (entry_id, image_id) do update set state = 'usable', last_seen_at = now()
      )
      select ${columnsOf(cacheEntries)} from registered`,
  );
  const entry = row ? parseRow(cacheEntries, row) : await findEntry(transaction, request);
  return entry?.state === 'ready'
    ? { kind: 'ready', entry }
    : { kind: 'not-populating', state: entry?.state ?? 'absent' };
}

export type RetireOutcome =
  /** `deletable`: nothing holds it, so `beginEntryDeletion` may follow. */
  { kind: 'retired'; deletable: boolean } | { kind: 'leased' } | { kind: 'not-ready'; state: EntryState | 'absent' };

/**
 * `ready -> retired` unless a create holds a lease, with its event. Repeated on a retired entry it answers `retired` again.
 * @param detail one sentence for the entry's history.
 */
export function retireEntry(
  database: Database,
  { entryId, reason, ...note }: { entryId: EntryId; reason: RetireReason; detail?: string; workflowId?: string },
): Promise<RetireOutcome> {
  return inTransaction(database, async (transaction) => {
    const entry = await lockEntry(transaction, entryId);
    if (entry?.state === 'retired') return { kind: 'retired', deletable: entry.clones === 0 };
    if (entry?.state !== 'ready') return { kind: 'not-ready', state: entry?.state ?? 'absent' };
    // A statement of its own: inside the locking one, `not exists` would see the rows as they were before the lock was waited for.
    const leased = await findLeased(transaction, [entryId]);
    if (leased.size > 0) return { kind: 'leased' };
    await runStatement(
      transaction,
      sql`with changed as (
          update cache_entries set ${retired(reason)} where id = ${entryId} and state = 'ready' returning ${eventColumns}
        ) ${eventsOf(sql`changed`, { kind: 'retired', ...note })}`,
    );
    return { kind: 'retired', deletable: entry.clones === 0 };
  });
}

export type QuarantineOutcome = { kind: 'quarantined' } | { kind: 'not-ready'; state: EntryState | 'absent' };

/** `ready -> retired` at once, leases or not: its image-volume is proven unusable. Of a herd that finds it out, one gets `quarantined`. */
export async function quarantineEntry(
  database: Database,
  { entryId, found, workflowId }: { entryId: EntryId; found: string; workflowId?: string },
): Promise<QuarantineOutcome> {
  const rows = await runStatement(
    database,
    sql`with changed as (
        update cache_entries set ${retired('quarantined')}, reason_detail = ${found} where id = ${entryId} and state = 'ready' returning ${eventColumns}
      ), noted as (${eventsOf(sql`changed`, { kind: 'quarantined', workflowId })})
      select id from changed`,
  );
  if (rows.length > 0) return { kind: 'quarantined' };
  const entry = await findEntry(database, { entryId });
  return { kind: 'not-ready', state: entry?.state ?? 'absent' };
}

/** `ready -> retired` at once, leases or not: the backend lets it have no more clones. Of a herd that finds it out, one is told so. @returns whether this call did it. */
export async function retireFullEntry(
  database: Database,
  { entryId, found }: { entryId: EntryId; found: string },
): Promise<boolean> {
  const rows = await runStatement(
    database,
    sql`update cache_entries set ${retired('clone-limit')}, reason_detail = ${found} where id = ${entryId} and state = 'ready' returning id`,
  );
  return rows.length > 0;
}

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

export type DeletionOutcome =
  | { kind: 'deleting'; entry: EntryRow }
  | { kind: 'held'; clones: number }
  | { kind: 'not-retired'; state: EntryState | 'absent' };

/** `retired -> deleting` when nothing holds it. Repeated on a `deleting` entry it answers the same. Next: delete the image-volume, `confirmEntryGone`. */
export async function beginEntryDeletion(
  database: Database,
  { entryId }: { entryId: EntryId },
): Promise<DeletionOutcome> {
  await runStatement(
    database,
    sql`update cache_entries set state = 'deleting' where id = ${entryId} and state = 'retired' and clones = 0`,
  );
  const entry = await findEntry(database, { entryId });
  if (entry?.state === 'deleting') return { kind: 'deleting', entry };
  if (entry?.state === 'retired') return { kind: 'held', clones: entry.clones };
  return { kind: 'not-retired', state: entry?.state ?? 'absent' };
}

/** `deleting -> gone`, after the backend has confirmed that the image-volume is absent. @returns whether it is gone. */
export async function confirmEntryGone(
  database: Database,
  { entryId, workflowId }: { entryId: EntryId; workflowId?: string },
): Promise<boolean> {
  await runStatement(database, gone(sql`id = ${entryId}`, workflowId));
  return (await findEntry(database, { entryId }))?.state === 'gone';
}

/**
 * `deleting -> retired`, outside of the limits: the backend would not delete it. It is tried again with every sweep and stands in nobody's way. Idempotent.
 * @param found what the backend said.
 */
export async function keepUndeletable(
  database: Database,
  { entryId, found, workflowId }: { entryId: EntryId; found: string; workflowId?: string },
): Promise<void> {
  await runStatement(
    database,
    sql`with before as (
        select id, reason_detail from cache_entries where id = ${entryId} and state = 'deleting' for update
      ), changed as (
        update cache_entries e set state = 'retired', counted = false, reserved_for = null, reason_detail = ${found} from before b where e.id = b.id
        returning ${columnsOf(cacheEntries, 'e')}, b.reason_detail is distinct from ${found} as is_news
      ) ${eventsOf(sql`changed where is_news`, { kind: 'retired', workflowId })}`,
  );
}

/**
 * `populating -> gone`, after what was written is removed from the backend. Undo of `insertPopulatingEntry`.
 * @param flight when given, only that flight's reservation is given up: a late call must not take a later run's. @returns whether it is gone.
 */
export async function abandonReservation(
  database: Database,
  { entryId, flight }: { entryId: EntryId; flight?: number },
): Promise<boolean> {
  const sameFlight = flight === undefined ? sql`true` : sql`flight = ${flight}`;
  await runStatement(
    database,
    sql`update cache_entries set state = 'gone', reason = 'abandoned', counted = false, gone_at = now()
      where id = ${entryId} and state = 'populating' and ${sameFlight}`,
  );
  return (await findEntry(database, { entryId }))?.state === 'gone';
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

async function reserve(
  transaction: Queryable,
  { backend, request }: { backend: BackendRow; request: ReservationRequest },
): Promise<ReservationOutcome> {
  if (!backend.cacheEnabled) return { kind: 'cache-off' };
  const [populating, ready] = await findUsable(transaction, { request });
  if (request.entryId !== undefined && populating?.id !== request.entryId) {
    const state = (await findEntry(transaction, { entryId: request.entryId }))?.state ?? 'absent';
    return { kind: 'given-up', state };
  }
  if (ready && !populating) return { kind: 'ready', entry: ready };
  if (request.bytes > backend.maxBytes) return { kind: 'too-large', maxBytes: backend.maxBytes };
  if (populating && populating.reservedFor !== request.workflowId)
    throw new Error(`${populating.reservedFor} populates ${request.key.short} already`);
  const used = await readSums(transaction, backend.name);
  const neededBytes =
    used.bytes - (populating?.realBytes ?? 0) + Math.max(request.bytes, populating?.realBytes ?? 0) - backend.maxBytes;
  const neededCount = used.count + (populating ? 0 : 1) - backend.maxCount;
  const fits = neededBytes <= 0 && neededCount <= 0;
  if (populating && (fits || request.bytes <= populating.realBytes))
    return continueReservation(transaction, { populating, request });
  if (!fits) return { kind: 'no-room', neededBytes: Math.max(neededBytes, 0), neededCount: Math.max(neededCount, 0) };
  return insertReservation(transaction, request);
}

/** @returns the key's running reservation and its newest ready entry that takes clones; one near its limit is what the reservation is to follow. */
async function findUsable(
  transaction: Queryable,
  { request }: { request: ReservationRequest },
): Promise<[EntryRow | undefined, EntryRow | undefined]> {
  const rows = await runStatement(
    transaction,
    sql`select ${columnsOf(cacheEntries, 'e')} from cache_entries e
      where e.backend = ${request.backend} and e.short_key = ${request.key.short} and ${hasKey('e', request.key)}
        and (e.state = 'populating' or (e.state = 'ready' and e.clones < ${nearCloneLimit(cloneLimitOf(request.backend))}))
      order by e.generation desc`,
  );
  const entries = rows.map((row) => parseRow(cacheEntries, row));
  return [entries.find(({ state }) => state === 'populating'), entries.find(({ state }) => state === 'ready')];
}

/** A later run, or one that has learned that it needs more, goes on with what its workflow id has reserved. */
async function continueReservation(
  transaction: Queryable,
  { populating, request }: { populating: EntryRow; request: ReservationRequest },
): Promise<ReservationOutcome> {
  const [row] = await runStatement(
    transaction,
    sql`update cache_entries set real_bytes = greatest(real_bytes, ${request.bytes}), flight = ${request.flight}, policy_version = ${request.policyVersion}
      where id = ${populating.id} returning ${columnsOf(cacheEntries)}`,
  );
  return { kind: 'reserved', entry: row ? parseRow(cacheEntries, row) : populating };
}

/** What it was used for outlives eviction: a new generation starts with its predecessor's counts. */
async function insertReservation(transaction: Queryable, request: ReservationRequest): Promise<ReservationOutcome> {
  const id = randomUUID();
  const name = `${request.imageVolumeNamePrefix ?? 'image-volume-'}${request.key.short}-`;
  const [row] = await runStatement(
    transaction,
    sql`insert into cache_entries (id, backend, ${keyColumnNames}, state, flight, reserved_for, real_bytes, policy_version, image_bytes, generation, image_volume,
        uses, use_score, uses_scored, scored_at)
      select ${id}::uuid, ${request.backend}, ${keyValues(request.key)}, 'populating', ${request.flight}::int, ${request.workflowId}, ${request.bytes}::bigint,
        ${request.policyVersion}, ${request.imageBytes ?? null}::bigint, latest.generation + 1,
        ${name}::text || (latest.generation + 1) || ${`-${id.slice(0, 8)}`}::text, latest.uses, latest.use_score, latest.uses_scored, latest.scored_at
      from (
        select generation, uses, use_score, uses_scored, scored_at from cache_entries
        where backend = ${request.backend} and short_key = ${request.key.short}
        union all select 0, 0, 0, 0, null order by generation desc limit 1
      ) latest
      returning ${columnsOf(cacheEntries)}`,
  );
  if (!row) throw new Error(`the reservation of ${request.key.short} on ${request.backend} inserted nothing`);
  return { kind: 'reserved', entry: parseRow(cacheEntries, row) };
}

async function lockEntry(transaction: Queryable, entryId: EntryId): Promise<EntryRow | undefined> {
  const [row] = await runStatement(
    transaction,
    sql`select ${columnsOf(cacheEntries)} from cache_entries where id = ${entryId} for update`,
  );
  return row && parseRow(cacheEntries, row);
}

/** `deleting -> gone`, with its event. */
function gone(which: SQL, workflowId?: string): SQL {
  return sql`with changed as (
      update cache_entries set state = 'gone', counted = false, gone_at = now() where ${which} and state = 'deleting' returning ${eventColumns}
    ) ${eventsOf(sql`changed`, { kind: 'deleted', workflowId })}`;
}

/** What clones hold leaves the limits for good: they bound what the cache could give back. */
export function retired(reason: RetireReason): SQL {
  return sql`state = 'retired', reason = ${reason}, retired_at = now(), counted = (clones = 0)`;
}
