import { randomUUID } from 'node:crypto';
import { and, desc, eq, inArray, sql, type SQL } from 'drizzle-orm';
import type { BackendName, EntryId, ImageId, ProjectId } from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import { hasKey, keyColumnNames, keyValues } from '../cache-key';
import type { Database } from '../client';
import { withDatabaseErrors } from '../errors';
import { cacheEntries, entryImages, type EntryState, type RetireReason } from '../schema';
import { columnsOf, inTransaction, parseRow, runStatement, uuids, type Queryable } from '../statement';
import type { BackendRow, EntryImageRow, EntryRow } from '../types';
import { lockBackend } from './backends';

/** How many rows of the lowest rank are looked at when victims are chosen. */
const VICTIM_SCAN_ROWS = 200;

export interface ReservationRequest {
  backend: BackendName;
  key: CacheKey;
  /** The worst case of what the image-volume takes on the backend. */
  bytes: number;
  flight: number;
  workflowId: string;
  policyVersion: string;
  /** Default: `image-volume-`. */
  imageVolumeNamePrefix?: string;
}

export type ReservationOutcome =
  | { kind: 'reserved'; entry: EntryRow }
  /** A ready entry of this key takes clones already. */
  | { kind: 'ready'; entry: EntryRow }
  /** What would have to be given back first. */
  | { kind: 'no-room'; neededBytes: number; neededCount: number }
  | { kind: 'too-large'; maxBytes: number }
  | { kind: 'cache-off' };

/**
 * Makes the key's next entry, `populating`, its bytes counted in the transaction that checked them: limits never overshoot.
 * Repeated for one workflow id, by a later run too, it returns the same entry. Undo: `abandonReservation`.
 */
export function reserveEntry(database: Database, request: ReservationRequest): Promise<ReservationOutcome> {
  return inTransaction(database, async (transaction) => {
    const backend = await lockBackend(transaction, { name: request.backend });
    return reserve(transaction, { backend, request });
  });
}

/**
 * As `reserveEntry`, after the victims that were marked for this workflow were deleted on the backend: they become `gone` in the same transaction,
 * so their bytes are never counted twice and nobody else can take them in between.
 */
export function reserveFreed(database: Database, request: ReservationRequest): Promise<ReservationOutcome> {
  return inTransaction(database, async (transaction) => {
    const backend = await lockBackend(transaction, { name: request.backend });
    await runStatement(
      transaction,
      sql`update cache_entries set state = 'gone', counted = false, gone_at = now()
        where backend = ${request.backend} and reserved_for = ${request.workflowId} and state = 'deleting'`,
    );
    return reserve(transaction, { backend, request });
  });
}

export type VictimChoice = { kind: 'victims'; entries: EntryRow[] } | { kind: 'none' };

/**
 * Marks just enough entries `deleting` on behalf of one reservation, or none at all: what is retired already first, then the least recently used.
 * Never one that is leased, has clones or is pinned. Repeated for one workflow id it returns those marked before too.
 * No entries in `victims`: there is room by now. Next: delete their image-volumes, then `reserveFreed`.
 */
export function chooseVictimsForReservation(
  database: Database,
  { backend: name, bytes, workflowId }: { backend: BackendName; bytes: number; workflowId: string },
): Promise<VictimChoice> {
  return inTransaction(database, async (transaction) => {
    const backend = await lockBackend(transaction, { name });
    if (bytes > backend.maxBytes) return { kind: 'none' };
    const own = await findReservedFor(transaction, { name, workflowId });
    const marked = own.filter(({ state }) => state === 'deleting');
    const used = await readSums(transaction, name);
    const needed = {
      bytes: used.bytes - totalBytes(own) + bytes - backend.maxBytes,
      count: used.count - own.length + 1 - backend.maxCount,
    };
    const chosen = takeEnough(await lockVictimCandidates(transaction, name), needed);
    if (!chosen) return marked.length > 0 ? { kind: 'victims', entries: marked } : { kind: 'none' };
    return {
      kind: 'victims',
      entries: [...marked, ...(await markVictims(transaction, { entries: chosen, workflowId }))],
    };
  });
}

export type RegisterOutcome =
  { kind: 'ready'; entry: EntryRow } | { kind: 'not-populating'; state: EntryState | 'absent' };

/** `populating -> ready` with what was measured; a `ready` entry stays as it is and is returned. */
export async function registerReady(
  database: Database,
  request: {
    entryId: EntryId;
    virtualBytes: number;
    realBytes: number;
    costSeconds: number;
    imageId: ImageId;
    projectId: ProjectId;
  },
): Promise<RegisterOutcome> {
  const [row] = await runStatement(
    database,
    sql`with registered as (
        update cache_entries set state = 'ready', virtual_bytes = ${request.virtualBytes}, real_bytes = ${request.realBytes},
          cost_seconds = ${request.costSeconds}, ready_at = now(), last_used_at = now(), reserved_for = null
        where id = ${request.entryId} and state = 'populating' returning ${columnsOf(cacheEntries)}
      ), served as (
        insert into entry_images (entry_id, image_id, project_id) select id, ${request.imageId}, ${request.projectId} from registered
        on conflict (entry_id, image_id) do update set state = 'usable', last_seen_at = now()
      )
      select ${columnsOf(cacheEntries)} from registered`,
  );
  const entry = row ? parseRow(cacheEntries, row) : await findEntry(database, request);
  return entry?.state === 'ready'
    ? { kind: 'ready', entry }
    : { kind: 'not-populating', state: entry?.state ?? 'absent' };
}

export type RetireOutcome =
  /** `deletable`: nothing holds it, so `beginEntryDeletion` may follow. */
  { kind: 'retired'; deletable: boolean } | { kind: 'leased' } | { kind: 'not-ready'; state: EntryState | 'absent' };

/** `ready -> retired` unless a create holds a lease. Repeated on a retired entry it answers `retired` again. */
export function retireEntry(
  database: Database,
  { entryId, reason }: { entryId: EntryId; reason: RetireReason },
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
      sql`update cache_entries set ${retired(reason)} where id = ${entryId} and state = 'ready'`,
    );
    return { kind: 'retired', deletable: entry.clones === 0 };
  });
}

export type QuarantineOutcome = { kind: 'quarantined' } | { kind: 'not-ready'; state: EntryState | 'absent' };

/** `ready -> retired` at once, leases or not: its image-volume is proven unusable. Of a herd that finds it out, one gets `quarantined`. */
export async function quarantineEntry(
  database: Database,
  { entryId, found }: { entryId: EntryId; found: string },
): Promise<QuarantineOutcome> {
  const rows = await runStatement(
    database,
    sql`update cache_entries set ${retired('quarantined')}, reason_detail = ${found} where id = ${entryId} and state = 'ready' returning id`,
  );
  if (rows.length > 0) return { kind: 'quarantined' };
  const entry = await findEntry(database, { entryId });
  return { kind: 'not-ready', state: entry?.state ?? 'absent' };
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
export async function confirmEntryGone(database: Database, { entryId }: { entryId: EntryId }): Promise<boolean> {
  await runStatement(
    database,
    sql`update cache_entries set state = 'gone', counted = false, gone_at = now() where id = ${entryId} and state = 'deleting'`,
  );
  return (await findEntry(database, { entryId }))?.state === 'gone';
}

/**
 * `populating -> gone`, after what was written is removed from the backend. Undo of `reserveEntry`.
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

export type PinOutcome = { kind: 'pinned' | 'unpinned' } | { kind: 'not-ready'; state: EntryState | 'absent' };

/** Keeps a ready entry from being chosen as a victim until it is unpinned. */
export function pinEntry(database: Database, { entryId, by }: { entryId: EntryId; by: string }): Promise<PinOutcome> {
  return setPinned(database, { entryId, by });
}

export function unpinEntry(database: Database, { entryId }: { entryId: EntryId }): Promise<PinOutcome> {
  return setPinned(database, { entryId, by: null });
}

export async function findEntry(database: Database, { entryId }: { entryId: EntryId }): Promise<EntryRow | undefined> {
  const [row] = await runStatement(
    database,
    sql`select ${columnsOf(cacheEntries)} from cache_entries where id = ${entryId}`,
  );
  return row && parseRow(cacheEntries, row);
}

/** @returns the newest first; without `state`, all that are not gone. */
export function listEntries(
  database: Database,
  { backend, shortKey, state, limit }: { backend?: BackendName; shortKey?: string; state?: EntryState; limit: number },
): Promise<EntryRow[]> {
  return withDatabaseErrors(() =>
    database.orm
      .select()
      .from(cacheEntries)
      .where(
        and(
          backend && eq(cacheEntries.backend, backend),
          shortKey ? eq(cacheEntries.shortKey, shortKey) : undefined,
          state ? eq(cacheEntries.state, state) : sql`${cacheEntries.state} <> 'gone'`,
        ),
      )
      .orderBy(desc(cacheEntries.createdAt), cacheEntries.id)
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
export function sums(database: Database, { backend }: { backend: BackendName }): Promise<CacheSums> {
  return readSums(database, backend);
}

async function reserve(
  transaction: Queryable,
  { backend, request }: { backend: BackendRow; request: ReservationRequest },
): Promise<ReservationOutcome> {
  if (!backend.cacheEnabled) return { kind: 'cache-off' };
  const [populating, ready] = await findUsable(transaction, { backend, request });
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

/** @returns the key's running reservation and its newest ready entry that takes clones. */
async function findUsable(
  transaction: Queryable,
  { backend, request }: { backend: BackendRow; request: ReservationRequest },
): Promise<[EntryRow | undefined, EntryRow | undefined]> {
  const rows = await runStatement(
    transaction,
    sql`select ${columnsOf(cacheEntries, 'e')} from cache_entries e
      where e.backend = ${request.backend} and e.short_key = ${request.key.short} and ${hasKey('e', request.key)}
        and (e.state = 'populating' or (e.state = 'ready' and e.clones < coalesce(${backend.cloneLimit}::int, 2147483647)))
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

/** The use count outlives eviction: a new generation starts with its predecessor's. */
async function insertReservation(transaction: Queryable, request: ReservationRequest): Promise<ReservationOutcome> {
  const id = randomUUID();
  const name = `${request.imageVolumeNamePrefix ?? 'image-volume-'}${request.key.short}-`;
  const [row] = await runStatement(
    transaction,
    sql`insert into cache_entries (id, backend, ${keyColumnNames}, state, flight, reserved_for, real_bytes, policy_version, generation, image_volume, uses)
      select ${id}::uuid, ${request.backend}, ${keyValues(request.key)}, 'populating', ${request.flight}::int, ${request.workflowId}, ${request.bytes}::bigint,
        ${request.policyVersion}, latest.generation + 1, ${name}::text || (latest.generation + 1) || ${`-${id.slice(0, 8)}`}::text, latest.uses
      from (
        select generation, uses from cache_entries where backend = ${request.backend} and short_key = ${request.key.short}
        union all select 0, 0 order by generation desc limit 1
      ) latest
      returning ${columnsOf(cacheEntries)}`,
  );
  if (!row) throw new Error(`the reservation of ${request.key.short} on ${request.backend} inserted nothing`);
  return { kind: 'reserved', entry: parseRow(cacheEntries, row) };
}

async function readSums(on: Queryable, backend: BackendName): Promise<CacheSums> {
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

/** @returns what counts against the limits on behalf of this workflow: its reservation, and the victims that are marked for it. */
async function findReservedFor(
  transaction: Queryable,
  { name, workflowId }: { name: BackendName; workflowId: string },
): Promise<EntryRow[]> {
  const rows = await runStatement(
    transaction,
    sql`select ${columnsOf(cacheEntries)} from cache_entries
      where backend = ${name} and reserved_for = ${workflowId} and state in ('populating', 'deleting') and counted order by id`,
  );
  return rows.map((row) => parseRow(cacheEntries, row));
}

/** Locks first and looks for leases in a second statement, which sees what was committed while the locks were waited for. */
async function lockVictimCandidates(transaction: Queryable, name: BackendName): Promise<EntryRow[]> {
  const rows = await runStatement(
    transaction,
    sql`select ${columnsOf(cacheEntries)} from cache_entries
      where backend = ${name} and counted and clones = 0 and (state = 'retired' or (state = 'ready' and not pinned))
      order by (state = 'ready'), coalesce(last_used_at, created_at), id limit ${VICTIM_SCAN_ROWS} for update`,
  );
  const locked = rows.map((row) => parseRow(cacheEntries, row));
  const leased = await findLeased(
    transaction,
    locked.map(({ id }) => id),
  );
  return locked.filter(({ id }) => !leased.has(id));
}

/** @returns the first candidates that together give back what is needed; undefined when all of them together do not. */
function takeEnough(candidates: EntryRow[], needed: { bytes: number; count: number }): EntryRow[] | undefined {
  let { bytes, count } = needed;
  const chosen: EntryRow[] = [];
  for (const candidate of candidates) {
    if (bytes <= 0 && count <= 0) break;
    chosen.push(candidate);
    bytes -= candidate.realBytes;
    count -= 1;
  }
  return bytes <= 0 && count <= 0 ? chosen : undefined;
}

async function markVictims(
  transaction: Queryable,
  { entries, workflowId }: { entries: EntryRow[]; workflowId: string },
): Promise<EntryRow[]> {
  const rows = await runStatement(
    transaction,
    sql`update cache_entries set state = 'deleting', reason = coalesce(reason, 'evicted'), reserved_for = ${workflowId}, retired_at = coalesce(retired_at, now())
      where id = any (${uuids(entries.map(({ id }) => id))}) returning ${columnsOf(cacheEntries)}`,
  );
  return rows.map((row) => parseRow(cacheEntries, row));
}

async function lockEntry(transaction: Queryable, entryId: EntryId): Promise<EntryRow | undefined> {
  const [row] = await runStatement(
    transaction,
    sql`select ${columnsOf(cacheEntries)} from cache_entries where id = ${entryId} for update`,
  );
  return row && parseRow(cacheEntries, row);
}

async function findLeased(transaction: Queryable, entryIds: EntryId[]): Promise<Set<EntryId>> {
  if (entryIds.length === 0) return new Set();
  const rows = await runStatement<{ entry_id: EntryId }>(
    transaction,
    sql`select distinct entry_id from volumes where entry_id = any (${uuids(entryIds)}) and holds_entry
      and (state = 'creating' or (state = 'deleting' and state_before_delete = 'creating'))`,
  );
  return new Set(rows.map((row) => row.entry_id));
}

/** What clones hold leaves the limits for good: they bound what the cache could give back. */
function retired(reason: RetireReason): SQL {
  return sql`state = 'retired', reason = ${reason}, retired_at = now(), counted = (clones = 0)`;
}

async function setPinned(
  database: Database,
  { entryId, by }: { entryId: EntryId; by: string | null },
): Promise<PinOutcome> {
  const rows = await runStatement(
    database,
    sql`update cache_entries set pinned = ${by !== null}, pinned_by = ${by} where id = ${entryId} and state = 'ready' returning id`,
  );
  if (rows.length > 0) return { kind: by === null ? 'unpinned' : 'pinned' };
  const entry = await findEntry(database, { entryId });
  return { kind: 'not-ready', state: entry?.state ?? 'absent' };
}

function totalBytes(entries: EntryRow[]): number {
  return entries.reduce((total, { realBytes }) => total + realBytes, 0);
}
