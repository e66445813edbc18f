import { and, eq, gt, sql } from 'drizzle-orm/sql';
import type { BackendName, EntryId } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { cacheEntries, type EntryRow } from '../schema';
import { cast, inTransaction, isLiteral, query, readRows, runStatement } from '../statement';
import { lockBackend } from '../backends';
import { lockPopulation } from '../flights';
import { eventColumns, eventsOf } from '../entries/entry-events';

/** @returns retired entries that nothing holds and nobody deletes, by id after `afterId`. */
export function listFreeEntries(
  database: Database,
  { backend, afterId, limit }: { backend: BackendName; afterId?: EntryId; limit: number },
): Promise<EntryRow[]> {
  const { id, state, clones } = cacheEntries;
  const isFree = and(eq(cacheEntries.backend, backend), isLiteral(state, 'retired'), eq(clones, 0));
  const where = and(isFree, afterId && gt(id, afterId));
  return query(database, (orm) => orm.select().from(cacheEntries).where(where).orderBy(id).limit(limit));
}

export interface MiscountedEntry {
  entryId: EntryId;
  imageVolume: string;
  clones: number;
  /** Volumes and snapshots that hold it. */
  holders: number;
}

/** @returns entries whose count is not what the volumes say, as one snapshot sees both. */
export function listMiscounted(database: Database, backend: BackendName): Promise<MiscountedEntry[]> {
  const { id: entryId, imageVolume, clones } = cacheEntries;
  const fields = { entryId, imageVolume, clones, holders: cast.integer(sql`coalesce(h.holders, 0)`) };
  return readRows(
    database,
    fields,
    (columns) => sql`select ${columns} from cache_entries e left join (
        select entry_id, count(*) as holders from (
          select entry_id from volumes where holds_entry union all select entry_id from snapshots where holds_entry
          union all select entry_id from reimages where entry_id is not null
        ) held group by entry_id
      ) h on h.entry_id = e.id
      where e.backend = ${backend} and e.clones <> coalesce(h.holders, 0) order by e.id`,
  );
}

/**
 * Sets an entry's `clones` to the number of volumes and snapshots that hold it, with its event. A hold is given or ended under
 * the entry's lock until its volume or snapshot is written, so a count in a second statement, after the lock, is exact. Idempotent.
 * @returns whether it was wrong.
 */
export function correctCloneCount(
  database: Database,
  { entryId, workflowId }: { entryId: EntryId; workflowId: string },
): Promise<boolean> {
  return inTransaction(database, async (transaction) => {
    await runStatement(transaction, sql`select id from cache_entries where id = ${entryId} for update`);
    const detail = sql`'the count of clones was ' || was || ', ' || clones || ' volumes and snapshots hold it'`;
    const corrected = await runStatement(
      transaction,
      sql`with before as (
          select id, clones as was, ((select count(*) from volumes where entry_id = ${entryId} and holds_entry) +
            (select count(*) from snapshots where entry_id = ${entryId} and holds_entry) +
            (select count(*) from reimages where entry_id = ${entryId}))::int as holders
          from cache_entries where id = ${entryId}
        ), changed as (
          update cache_entries e set clones = b.holders from before b where e.id = b.id and e.clones <> b.holders
          returning e.id, e.backend, e.short_key, e.reason, e.reason_detail, e.real_bytes, e.clones, b.was
        ), noted as (${eventsOf('changed', { kind: 'repaired', reason: 'clone-count-wrong', detail, workflowId })})
        select from changed`,
    );
    return corrected > 0;
  });
}

/**
 * `populating -> deleting` of a reservation whose population is dead, so that whoever comes next removes what was
 * written and confirms it gone. A run that begins meanwhile claims its flight first: then nothing is changed.
 * @param runId what the flight's row said before its population was found dead.  @returns whether it is `deleting` by
 * this call.
 */
export function beginAbandonment(
  database: Database,
  { entry, runId, workflowId }: { entry: EntryRow; runId: string | null; workflowId: string },
): Promise<boolean> {
  const { id, backend, shortKey, flight } = entry;
  return inTransaction(database, async (transaction) => {
    await lockBackend(transaction, { name: backend });
    const population = await lockPopulation(transaction, { backend, shortKey });
    if ((population?.runId ?? null) !== runId) return false;
    const detail = 'its population did not run any more';
    const begun = await runStatement(
      transaction,
      sql`with changed as (
          update cache_entries set state = 'deleting', reason = 'abandoned', reason_detail = ${detail}, reserved_for = null, retired_at = now()
          where id = ${id} and state = 'populating' and flight is not distinct from ${flight}::int returning ${eventColumns}
        ), noted as (${eventsOf('changed', { kind: 'repaired', workflowId })})
        select from changed`,
    );
    return begun > 0;
  });
}
