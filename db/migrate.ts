import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { migrate } from 'drizzle-orm/postgres-js/migrator';
import { connectDatabase } from './client';
import { withDatabaseErrors } from './errors';
import { inTransaction, runStatement } from './statement';

/** Beside this file, in the source tree as in the build. */
const migrationsFolder = join(__dirname, 'migrations');

/** Any number will do, as long as every worker of an installation takes the same one. */
const MIGRATION_LOCK = 4_918_273_645;
/** How long a worker waits for another one's migration, and one migration's statement may take. */
const MIGRATION_TIMEOUT_MS = 300_000;

/**
 * Brings the inventory's schema up to date; of any number of workers that start at once one migrates and the others wait for it.
 * A transaction of a connection of its own holds the lock meanwhile: a session's lock in a pool would stay with whichever connection took it, and behind
 * PgBouncer with a session that is somebody else's by then.
 * @throws DatabaseUnavailable (retried).
 */
export async function migrateDatabase(url: string): Promise<void> {
  const options = {
    maxConnections: 1,
    applicationName: 'image-volume-cache migrate',
    limitsMs: {
      statement_timeout: MIGRATION_TIMEOUT_MS,
      lock_timeout: MIGRATION_TIMEOUT_MS,
      idle_in_transaction_session_timeout: 2 * MIGRATION_TIMEOUT_MS,
    },
  };
  const [locking, migrating] = [connectDatabase(url, options), connectDatabase(url, options)];
  try {
    await inTransaction(locking, async (transaction) => {
      await runStatement(transaction, sql`select pg_advisory_xact_lock(${MIGRATION_LOCK})`);
      await withDatabaseErrors(() => migrate(migrating.orm, { migrationsFolder }));
    });
  } finally {
    await Promise.all([locking.close(), migrating.close()]);
  }
}
