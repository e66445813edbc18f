import { and, eq, sql, type SQL } from 'drizzle-orm/sql';
import type { EntryId } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { cacheEntries, type EntryState, type RetireReason, type EntryRow } from '../schema';
import { columnsOf, inTransaction, isLiteral, query, readTable, runStatement, type Queryable } from '../statement';
import { eventColumns, eventsOf } from './entry-events';
import { findEntry, findLeased } from './entries';

export type RetireOutcome =
  /** `deletable`: nothing holds it, so `beginEntryDeletion` may follow. */
  { kind: 'retired'; deletable: boolean } | { kind: 'leased' } | { kind: 'not-ready'; state: EntryState | 'absent' };

/**
 * `ready -> retired` unless a create holds a lease, with its event. Repeated on a retired entry it answers `retired`
 * again.
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
    // A statement of its own: inside the locking one, `not exists` would see the rows as they were before the lock was
    // waited for.
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

/**
 * `ready -> retired` at once, leases or not: its image-volume is proven unusable. Of a herd that finds it out, one gets
 * `quarantined`.
 */
export async function quarantineEntry(
  database: Database,
  { entryId, found, workflowId }: { entryId: EntryId; found: string; workflowId?: string },
): Promise<QuarantineOutcome> {
  const quarantined = await runStatement(
    database,
    sql`with changed as (
        update cache_entries set ${retired('quarantined')}, reason_detail = ${found} where id = ${entryId} and state = 'ready' returning ${eventColumns}
      ), noted as (${eventsOf(sql`changed`, { kind: 'quarantined', workflowId })})
      select id from changed`,
  );
  if (quarantined > 0) return { kind: 'quarantined' };
  const entry = await findEntry(database, { entryId });
  return { kind: 'not-ready', state: entry?.state ?? 'absent' };
}

/**
 * `ready -> retired` at once, leases or not: the backend lets it have no more clones. Of a herd that finds it out, one
 * is told so. @returns whether this call did it.
 */
export async function retireFullEntry(
  database: Database,
  { entryId, found }: { entryId: EntryId; found: string },
): Promise<boolean> {
  const changed = await runStatement(
    database,
    sql`update cache_entries set ${retired('clone-limit')}, reason_detail = ${found} where id = ${entryId} and state = 'ready'`,
  );
  return changed > 0;
}

export type DeletionOutcome =
  | { kind: 'deleting'; entry: EntryRow }
  | { kind: 'held'; clones: number }
  | { kind: 'not-retired'; state: EntryState | 'absent' };

/**
 * `retired -> deleting` when nothing holds it. Repeated on a `deleting` entry it answers the same. Next: delete the
 * image-volume, `confirmEntryGone`.
 */
export async function beginEntryDeletion(
  database: Database,
  { entryId }: { entryId: EntryId },
): Promise<DeletionOutcome> {
  const { id, state, clones } = cacheEntries;
  const where = and(eq(id, entryId), isLiteral(state, 'retired'), eq(clones, 0));
  await query(database, (orm) => orm.update(cacheEntries).set({ state: 'deleting' }).where(where));
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
 * `deleting -> retired`, outside of the limits: the backend would not delete it. It is tried again with every sweep and
 * stands in nobody's way. Idempotent.
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

async function lockEntry(transaction: Queryable, entryId: EntryId): Promise<EntryRow | undefined> {
  const [row] = await readTable(
    transaction,
    cacheEntries,
    (columns) => sql`select ${columns} from cache_entries where id = ${entryId} for update`,
  );
  return row;
}

/** `deleting -> gone`, with its event. */
export function gone(which: SQL, workflowId?: string): SQL {
  return sql`with changed as (
      update cache_entries set state = 'gone', counted = false, gone_at = now() where ${which} and state = 'deleting' returning ${eventColumns}
    ) ${eventsOf(sql`changed`, { kind: 'deleted', workflowId })}`;
}

/** An entry that clones hold leaves the limits for good: they bound what the cache could give back. */
export function retired(reason: RetireReason): SQL {
  return sql`state = 'retired', reason = ${reason}, retired_at = now(), counted = (clones = 0)`;
}
