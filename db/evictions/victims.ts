import { and, eq, sql } from 'drizzle-orm/sql';
import type { BackendName, EntryId } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { backends, cacheEntries, type RetireReason, type BackendRow, type EntryRow } from '../schema';
import { columnsOf, inTransaction, json, query, readTable, type Queryable } from '../statement';
import { findBackend, lockBackend, registered } from '../backends';
import { eventsOf } from '../entries/entry-events';
import { readEvictionView, type EvictionView } from './eviction-view';
import { readSums, type CacheSums } from '../entries/entries';

/** Rows of the lowest rank that are read when victims are chosen, and how many when those are not enough. */
const SCAN_ROWS = 200;
const LONG_SCAN_ROWS = 2000;

/** The answer of a pure policy about a view. */
export interface VictimSelection {
  victims: { entryId: EntryId; reason: RetireReason; detail: string }[];
  /** The backend's eviction clock is raised to this. */
  clock: number;
  /** It would like to see parents that clones hold, and more rows. */
  isShort: boolean;
}

/** `deleting`: to be deleted on the backend. `held`: retired, and deleted with its last clone. */
export interface MarkedVictims {
  deleting: EntryRow[];
  held: EntryRow[];
}

export type VictimChoice = ({ kind: 'victims' } & MarkedVictims) | { kind: 'none' };

/** By how much the limits are in the way of a reservation. */
export interface ReservationNeed {
  neededBytes: number;
  neededCount: number;
}

/**
 * Marks what `choose` selects for one reservation, enough or nothing, under the lock of the backend's row. Repeated for
 * one workflow id it returns what was marked before too. Nothing in `deleting`: there is room by now. Next: delete
 * their image-volumes, then `reserveFreed`.
 * @param choose pure.
 */
export function markForReservation(
  database: Database,
  request: {
    backend: BackendName;
    bytes: number;
    workflowId: string;
    choose: (view: EvictionView, need: ReservationNeed) => VictimSelection;
  },
): Promise<VictimChoice> {
  const { backend: name, bytes, workflowId, choose } = request;
  return inTransaction(database, async (transaction) => {
    const backend = await lockBackend(transaction, { name });
    if (bytes > backend.maxBytes) return { kind: 'none' };
    const { marked, need, used } = await readNeed(transaction, { backend, bytes, workflowId });
    if (need.neededBytes <= 0 && need.neededCount <= 0) return { kind: 'victims', deleting: marked, held: [] };
    const selection = await select(transaction, { backend, used, choose: (view) => choose(view, need) });
    if (selection.victims.length === 0)
      return marked.length > 0 ? { kind: 'victims', deleting: marked, held: [] } : { kind: 'none' };
    const more = await markVictims(transaction, { backend, workflowId, selection });
    return { kind: 'victims', deleting: [...marked, ...more.deleting], held: more.held };
  });
}

/**
 * Marks what `choose` selects for the backend's evictor. @returns the selection too, for the report. @param choose
 * pure.
 */
export function markForEviction<Selection extends VictimSelection>(
  database: Database,
  request: {
    backend: BackendName;
    entryIds: EntryId[];
    workflowId: string;
    choose: (view: EvictionView) => Selection;
  },
): Promise<MarkedVictims & { selection: Selection }> {
  const { backend: name, entryIds, workflowId, choose } = request;
  return inTransaction(database, async (transaction) => {
    const backend = await lockBackend(transaction, { name });
    const selection = await select(transaction, { backend, entryIds, withIdle: true, choose });
    return { ...(await markVictims(transaction, { backend, workflowId, selection })), selection };
  });
}

/** The candidates of `markForEviction`, and the entries that stay. Locks and changes nothing. */
export async function viewEvictions(
  database: Database,
  { backend: name, entryIds }: { backend: BackendName; entryIds: EntryId[] },
): Promise<EvictionView> {
  const backend = registered(await findBackend(database, { name }), name);
  const { id, state, pinned, clones } = cacheEntries;
  const stays = sql`${state} <> 'gone' and (${state} in ('populating', 'deleting') or ${pinned} or ${clones} > 0)`;
  const where = and(eq(cacheEntries.backend, name), stays);
  const others = await query(database, (orm) =>
    orm.select({ id }).from(cacheEntries).where(where).orderBy(id).limit(SCAN_ROWS),
  );
  return readEvictionView(database, {
    backend,
    entryIds: [...entryIds, ...others.map((entry) => entry.id)],
    withHeld: true,
    withIdle: true,
    scanRows: LONG_SCAN_ROWS,
    lock: false,
  });
}

interface SelectRequest<Selection> {
  backend: BackendRow;
  used?: CacheSums;
  entryIds?: EntryId[];
  withIdle?: boolean;
  choose: (view: EvictionView) => Selection;
}

/** Entries that nothing holds come first. Where they are not enough, parents that clones hold are locked too. */
async function select<Selection extends VictimSelection>(
  transaction: Queryable,
  { choose, ...request }: SelectRequest<Selection>,
): Promise<Selection> {
  const first = choose(await readEvictionView(transaction, { ...request, scanRows: SCAN_ROWS, lock: true }));
  if (!first.isShort) return first;
  return choose(
    await readEvictionView(transaction, { ...request, withHeld: true, scanRows: LONG_SCAN_ROWS, lock: true }),
  );
}

/** @returns by how much the limits are in the way, and the victims that are marked for this workflow already. */
async function readNeed(
  transaction: Queryable,
  { backend, bytes, workflowId }: { backend: BackendRow; bytes: number; workflowId: string },
): Promise<{ marked: EntryRow[]; need: ReservationNeed; used: CacheSums }> {
  const { id, reservedFor, state: ofState, counted } = cacheEntries;
  const isOwn = sql`${reservedFor} = ${workflowId} and ${ofState} in ('populating', 'deleting') and ${counted}`;
  const where = and(eq(cacheEntries.backend, backend.name), isOwn);
  const own = await query(transaction, (orm) => orm.select().from(cacheEntries).where(where).orderBy(id));
  const used = await readSums(transaction, { backend: backend.name });
  const ownBytes = own.reduce((total, { realBytes }) => total + realBytes, 0);
  const need = {
    neededBytes: used.bytes - ownBytes + bytes - backend.maxBytes,
    neededCount: used.count - own.length + 1 - backend.maxCount,
  };
  return { marked: own.filter(({ state }) => state === 'deleting'), need, used };
}

/** The candidates are locked, so the selection still holds. A parent that clones hold leaves the limits for good. */
async function markVictims(
  transaction: Queryable,
  { backend, workflowId, selection }: { backend: BackendRow; workflowId: string; selection: VictimSelection },
): Promise<MarkedVictims> {
  if (selection.victims.length === 0) return { deleting: [], held: [] };
  const chosen = selection.victims.map(({ entryId: id, reason, detail }) => ({ id, reason, detail }));
  const rows = await readTable(
    transaction,
    cacheEntries,
    (columns) => sql`with chosen as (
        select c.*, e.state as was from jsonb_to_recordset(${json(chosen)}) as c (id uuid, reason text, detail text) join cache_entries e on e.id = c.id
      ), changed as (
        update cache_entries e set state = case when e.clones = 0 then 'deleting' else 'retired' end, reason = coalesce(e.reason, c.reason),
          counted = e.counted and e.clones = 0, retired_at = coalesce(e.retired_at, now()),
          reserved_for = case when e.clones = 0 then ${workflowId} else e.reserved_for end
        from chosen c where e.id = c.id and e.state in ('ready', 'retired') returning ${columnsOf(cacheEntries, 'e')}, c.was, c.detail
      ), noted as (${eventsOf(sql`changed where was = 'ready'`, { kind: 'retired', detail: sql`detail`, workflowId })})
      select ${columns} from changed`,
  );
  const clock = sql`greatest(eviction_clock, ${selection.clock}::float8)`;
  if (selection.clock > backend.evictionClock)
    await query(transaction, (orm) =>
      orm.update(backends).set({ evictionClock: clock }).where(eq(backends.name, backend.name)),
    );
  const changed = new Map(rows.map((entry) => [entry.id, entry]));
  const inOrder = selection.victims.flatMap(({ entryId }) => changed.get(entryId) ?? []);
  return {
    deleting: inOrder.filter(({ state }) => state === 'deleting'),
    held: inOrder.filter(({ state }) => state === 'retired'),
  };
}
