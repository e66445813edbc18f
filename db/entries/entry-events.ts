import { desc, sql, type SQL } from 'drizzle-orm/sql';
import type { Caller, EntryEventKind } from '../../workflows/contract/event-kinds';
import type { EntryId } from '../../workflows/contract/ids';
import { entryEvents, type EntryEventRow } from '../schema';
import { query, runStatement, uuids, type Queryable } from '../statement';

/** An event without its entry. */
export interface EventNote extends Caller {
  kind: EntryEventKind;
  /** Class of the eviction or cause of the event. */
  reason?: string;
  /** One sentence for people. */
  detail?: string;
  bytes?: number;
  /** The workflow that it was done for. */
  workflowId?: string;
}

/**
 * Records one event of an entry that another statement has changed; repeated it records another. Nothing for an entry
 * that is not there.
 */
export async function recordEntryEvent(
  on: Queryable,
  { entryId, ...note }: EventNote & { entryId: EntryId },
): Promise<void> {
  const entry = sql`select ${eventColumns} from cache_entries where id = ${entryId}`;
  await runStatement(on, sql`with changed as (${entry}) ${eventsOf(sql`changed`, note)}`);
}

/** @returns the newest first, of these entries. */
export function listEntryEvents(
  on: Queryable,
  { entryIds, limit }: { entryIds: EntryId[]; limit: number },
): Promise<EntryEventRow[]> {
  const where = sql`${entryEvents.entryId} = any (${uuids(entryIds)})`;
  return query(on, (orm) => orm.select().from(entryEvents).where(where).orderBy(desc(entryEvents.id)).limit(limit));
}

type Note = { [Field in keyof EventNote]: EventNote[Field] | SQL };

/**
 * An insert for every row of `changed`, a part of the statement that has changed entries (with `eventColumns`), so that
 * an event is there exactly when its change is. `changed` is its name, or what follows `from`. Reason, detail and bytes
 * default to the row's own.
 */
export function eventsOf(changed: SQL | string, note: Note): SQL {
  const { kind, reason, detail, bytes, workflowId, by, requestId } = note;
  return sql`insert into entry_events (entry_id, backend, short_key, kind, reason, detail, bytes, workflow_id, requested_by, request_id)
    select id, backend, short_key, ${kind}::text, ${reason ?? sql`reason`}::text, ${detail ?? sql`reason_detail`}::text, ${bytes ?? sql`real_bytes`}::bigint,
      ${workflowId ?? null}::text, ${by ?? null}::text, ${requestId ?? null}::text
    from ${typeof changed === 'string' ? sql.identifier(changed) : changed}`;
}

/** The columns of a changed entry that `eventsOf` reads. */
export const eventColumns = sql.raw('id, backend, short_key, reason, reason_detail, real_bytes');
