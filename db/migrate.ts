import { sql } from 'drizzle-orm/sql';
import { migrate } from 'drizzle-orm/pg-proxy/migrator';
import { connectDatabase } from './client';
import { migrationsFolder, readSchemaAge } from './schema-age';
import { createOrm, inTransaction, runStatement } from './statement';

/** Any number, the same in every worker. */
const MIGRATION_LOCK = 4_918_273_645;
/** How long a worker waits for another one's migration, and how long a statement of a migration may run. */
const MIGRATION_TIMEOUT_MS = 300_000;

/**
 * Brings the inventory's schema up to date, in one transaction; of any number of workers that start at once one
 * migrates and the others wait for it. The transaction holds the lock: a session's lock behind PgBouncer would stay
 * with a session that is somebody else's by then. A schema that a newer program has made stays as it is.
 * @returns whether the schema is this program's afterwards, or newer.
 * @throws DatabaseUnavailable (retried).
 */
export async function migrateDatabase(url: string): Promise<'same' | 'newer'> {
  const database = connectDatabase(url, {
    maxConnections: 1,
    applicationName: 'image-volume-cache migrate',
    limitsMs: { statement_timeout: MIGRATION_TIMEOUT_MS, lock_timeout: MIGRATION_TIMEOUT_MS },
  });
  try {
    return await inTransaction(database, async (transaction) => {
      await runStatement(transaction, sql`select pg_advisory_xact_lock(${MIGRATION_LOCK})`);
      const run = async (statements: string[]): Promise<void> => {
        for (const statement of statements) await runStatement(transaction, sql.raw(statement));
      };
      await migrate(createOrm(transaction), run, { migrationsFolder });
      return (await readSchemaAge(transaction)) === 'newer' ? 'newer' : 'same';
    });
  } finally {
    await database.close();
  }
}
