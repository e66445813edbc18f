import { sql, type SQL } from 'drizzle-orm/sql';
import type { Database } from './client';
import { runStatement } from './statement';

/** How long rows are kept that nothing needs any more, in milliseconds. */
export interface Retention {
  /** Events, and the history of entries. */
  events: number;
  decisions: number;
  /** Rows of deleted volumes and snapshots. */
  goneRows: number;
}

/** Rows that one statement deletes: each costs a change of all its indexes, and locks are held for its length only. */
const ROWS_AT_ONCE = 1000;

/**
 * Deletes rows that are older than they are kept, batch by batch and at most `mostRows` of each table; the next call
 * deletes the rest. Several calls at once share the work. Idempotent.
 * @param onBatch called before each batch; may throw to stop.  @returns how many are deleted.
 */
export async function deleteExpired(
  database: Database,
  { kept, mostRows, onBatch }: { kept: Retention; mostRows: number; onBatch?: () => void },
): Promise<number> {
  const expired: SQL[] = [
    oldest('events', sql`at < ${before(kept.events)}`, sql`at`),
    oldest('entry_events', sql`at < ${before(kept.events)}`, sql`at`),
    oldest('decisions', sql`at < ${before(kept.decisions)}`, sql`at`),
    oldest('deleted_messages', sql`deleted_at < ${before(Math.max(kept.events, kept.decisions))}`, sql`deleted_at`),
    oldest('volumes', sql`state = 'deleted' and deleted_at < ${before(kept.goneRows)}`, sql`deleted_at`),
    oldest('snapshots', sql`state = 'deleted' and deleted_at < ${before(kept.goneRows)}`, sql`deleted_at`),
  ];
  let deleted = 0;
  for (const statement of expired) {
    for (let rows = 0; rows < mostRows;) {
      onBatch?.();
      const batch = await runStatement(database, statement);
      rows += batch;
      deleted += batch;
      if (batch < ROWS_AT_ONCE) break;
    }
  }
  return deleted;
}

function oldest(table: string, where: SQL, order: SQL): SQL {
  const name = sql.identifier(table);
  return sql`delete from ${name} where id = any (array(
      select id from ${name} where ${where} order by ${order} limit ${ROWS_AT_ONCE} for update skip locked
    ))`;
}

function before(keptMs: number): SQL {
  return sql`now() - ${keptMs}::float8 * interval '1 millisecond'`;
}
