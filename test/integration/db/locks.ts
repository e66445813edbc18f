import { sql, type SQL } from 'drizzle-orm';
import { connectDatabase, type Database } from '../../../db/client';

const WAIT_LIMIT_MS = 20_000;

/** One session with a transaction that stays open until the test commits it: its changes are locked and not yet visible. */
export interface OpenTransaction {
  database: Database;
  commit(): Promise<void>;
}

/** The single connection takes every statement that a query function sends, so a function of one statement runs inside of the transaction. */
export async function openTransaction(url: string): Promise<OpenTransaction> {
  const database = connectDatabase(url, { maxConnections: 1, applicationName: 'test holder' });
  await database.orm.execute(sql`begin`);
  return {
    database,
    commit: async () => {
      await database.orm.execute(sql`commit`);
      await database.close();
    },
  };
}

/** Opens a transaction that holds the locks of `statement`. */
export async function holding(url: string, statement: SQL): Promise<OpenTransaction> {
  const transaction = await openTransaction(url);
  await transaction.database.orm.execute(statement);
  return transaction;
}

/** Waits until `count` sessions of the database wait for a lock, the last of them in a statement that contains `text`. */
export async function untilBlocked(
  database: Database,
  { count = 1, text = '' }: { count?: number; text?: string } = {},
): Promise<void> {
  const deadline = Date.now() + WAIT_LIMIT_MS;
  while (Date.now() < deadline) {
    const waiting = await database.orm.execute<{ query: string }>(
      sql`select query from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
    );
    if (waiting.length >= count && waiting.some(({ query }) => query.includes(text))) return;
  }
  throw new Error(`no ${count} sessions wait for a lock in a statement with "${text}" within ${WAIT_LIMIT_MS} ms`);
}
