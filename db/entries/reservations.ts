import { randomUUID } from 'node:crypto';
import { and, eq, sql } from 'drizzle-orm/sql';
import type { BackendName, EntryId, ImageId, ProjectId } from '../../workflows/contract/ids';
import type { CacheKey, EntryVerdict } from '../../workflows/contract/image';
import { hasKey, keyColumnNames, keyValues } from '../key-columns';
import type { Database } from '../client';
import { cacheEntries, type EntryState, type BackendRow, type EntryRow } from '../schema';
import {
  columnsOf,
  inTransaction,
  isLiteral,
  json,
  query,
  readTable,
  runStatement,
  uuids,
  type Queryable,
  transactionTime,
} from '../statement';
import { lockBackend, cloneLimitOf, nearCloneLimit } from '../backends';
import { eventsOf } from './entry-events';
import { findEntry, readSums } from './entries';
import { gone } from './retirement';

export interface ReservationRequest {
  backend: BackendName;
  key: CacheKey;
  /** The image-volume's bytes on the backend, at worst. */
  bytes: number;
  flight: number;
  workflowId: string;
  policyVersion: string;
  /** Stored bytes of the image. */
  imageBytes?: number;
  /** The verdict that its bytes will have when it is ready. */
  verdict?: EntryVerdict;
  /** Default: `image-volume-`. */
  imageVolumeNamePrefix?: string;
  /** Set by who has reserved already and has learned that it needs more: no other entry is made for it. */
  entryId?: EntryId;
}

export type ReservationOutcome =
  | { kind: 'reserved'; entry: EntryRow }
  /** A ready entry of this key has room for clones. */
  | { kind: 'ready'; entry: EntryRow }
  /** So much would have to be given back first. */
  | { kind: 'no-room'; neededBytes: number; neededCount: number }
  | { kind: 'too-large'; maxBytes: number }
  | { kind: 'cache-off' }
  /** The reservation that `entryId` names was given up, or is ready. */
  | { kind: 'given-up'; state: EntryState | 'absent' };

/**
 * Makes the key's next entry, `populating`, its bytes counted in the transaction that checked them: limits never
 * overshoot. Repeated for one workflow id, by a later run too, it returns the same entry. Undo: `abandonReservation`.
 */
export function insertPopulatingEntry(database: Database, request: ReservationRequest): Promise<ReservationOutcome> {
  return inTransaction(database, async (transaction) => {
    const backend = await lockBackend(transaction, { name: request.backend });
    return reserve(transaction, { backend, request });
  });
}

/**
 * As `insertPopulatingEntry`, after these victims that were marked for this workflow were deleted on the backend: they
 * become `gone` in the same transaction, so their bytes are never counted twice and nobody else can use them in
 * between.
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

/**
 * An image-volume no larger than its reservation fits. A guest cannot enlarge a file system's own blocks for a file.
 */
async function fitsReservation(
  transaction: Queryable,
  { backend: name, realBytes: reservedBytes }: EntryRow,
  { virtualBytes, realBytes }: Registration,
): Promise<boolean> {
  if (virtualBytes <= reservedBytes) return true;
  const backend = await lockBackend(transaction, { name });
  const used = await readSums(transaction, { backend: name });
  return used.bytes - reservedBytes + realBytes <= backend.maxBytes;
}

async function register(transaction: Queryable, request: Registration): Promise<RegisterOutcome> {
  const [row] = await readTable(
    transaction,
    cacheEntries,
    (columns) => sql`with registered as (
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
      select ${columns} from registered`,
  );
  const entry = row ?? (await findEntry(transaction, request));
  return entry?.state === 'ready'
    ? { kind: 'ready', entry }
    : { kind: 'not-populating', state: entry?.state ?? 'absent' };
}

/**
 * `populating -> gone`, after what was written is removed from the backend. Undo of `insertPopulatingEntry`.
 * @param flight when given, only that flight's reservation is given up, never a later run's. @returns whether it is
 * gone.
 */
export async function abandonReservation(
  database: Database,
  { entryId, flight }: { entryId: EntryId; flight?: number },
): Promise<boolean> {
  const where = and(
    eq(cacheEntries.id, entryId),
    isLiteral(cacheEntries.state, 'populating'),
    flight === undefined ? undefined : eq(cacheEntries.flight, flight),
  );
  await query(database, (orm) =>
    orm
      .update(cacheEntries)
      .set({ state: 'gone', reason: 'abandoned', counted: false, goneAt: transactionTime })
      .where(where),
  );
  return (await findEntry(database, { entryId }))?.state === 'gone';
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
  const used = await readSums(transaction, { backend: backend.name });
  const neededBytes =
    used.bytes - (populating?.realBytes ?? 0) + Math.max(request.bytes, populating?.realBytes ?? 0) - backend.maxBytes;
  const neededCount = used.count + (populating ? 0 : 1) - backend.maxCount;
  const fits = neededBytes <= 0 && neededCount <= 0;
  if (populating && (fits || request.bytes <= populating.realBytes))
    return continueReservation(transaction, { populating, request });
  if (!fits) return { kind: 'no-room', neededBytes: Math.max(neededBytes, 0), neededCount: Math.max(neededCount, 0) };
  return insertReservation(transaction, request);
}

/**
 * @returns the key's running reservation, and its newest ready entry that has room beyond the margin of its clone
 * limit.
 */
async function findUsable(
  transaction: Queryable,
  { request }: { request: ReservationRequest },
): Promise<[EntryRow | undefined, EntryRow | undefined]> {
  const entries = await readTable(
    transaction,
    cacheEntries,
    (columns) => sql`select ${columns} from cache_entries e
      where e.backend = ${request.backend} and e.short_key = ${request.key.short} and ${hasKey('e', request.key)}
        and (e.state = 'populating' or (e.state = 'ready' and e.clones < ${nearCloneLimit(cloneLimitOf(request.backend))}))
      order by e.generation desc`,
  );
  return [entries.find(({ state }) => state === 'populating'), entries.find(({ state }) => state === 'ready')];
}

/** A later run, or one that has learned that it needs more, goes on with what its workflow id has reserved. */
async function continueReservation(
  transaction: Queryable,
  { populating, request }: { populating: EntryRow; request: ReservationRequest },
): Promise<ReservationOutcome> {
  const { bytes, flight, policyVersion } = request;
  const [row] = await query(transaction, (orm) =>
    orm
      .update(cacheEntries)
      .set({ realBytes: sql`greatest(real_bytes, ${bytes})`, flight, policyVersion })
      .where(eq(cacheEntries.id, populating.id))
      .returning(),
  );
  return { kind: 'reserved', entry: row ?? populating };
}

/** Use counts outlive eviction: a new generation starts with its predecessor's. */
async function insertReservation(transaction: Queryable, request: ReservationRequest): Promise<ReservationOutcome> {
  const id = randomUUID();
  const name = `${request.imageVolumeNamePrefix ?? 'image-volume-'}${request.key.short}-`;
  const [entry] = await readTable(
    transaction,
    cacheEntries,
    (
      columns,
    ) => sql`insert into cache_entries (id, backend, ${keyColumnNames}, state, flight, reserved_for, real_bytes, policy_version, image_bytes, verdict, generation, image_volume,
        uses, use_score, uses_scored, scored_at)
      select ${id}::uuid, ${request.backend}, ${keyValues(request.key)}, 'populating', ${request.flight}::int, ${request.workflowId}, ${request.bytes}::bigint,
        ${request.policyVersion}, ${request.imageBytes ?? null}::bigint, ${request.verdict === undefined ? sql`null` : json(request.verdict)},
        latest.generation + 1,
        ${name}::text || (latest.generation + 1) || ${`-${id.slice(0, 8)}`}::text, latest.uses, latest.use_score, latest.uses_scored, latest.scored_at
      from (
        select generation, uses, use_score, uses_scored, scored_at from cache_entries
        where backend = ${request.backend} and short_key = ${request.key.short}
        union all select 0, 0, 0, 0, null order by generation desc limit 1
      ) latest
      returning ${columns}`,
  );
  if (!entry) throw new Error(`the reservation of ${request.key.short} on ${request.backend} inserted nothing`);
  return { kind: 'reserved', entry };
}
