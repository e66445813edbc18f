import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { migrate } from 'drizzle-orm/postgres-js/migrator';
import { connectDatabase } from './client';
import { withDatabaseErrors } from './errors';

/** Beside this file, in the source tree as in the build. */
const migrationsFolder = join(__dirname, 'migrations');

/** Any number will do, as long as every worker of an installation takes the same one. */
const MIGRATION_LOCK = 4_918_273_645;
/** How long a worker waits for another one's migration, and one migration's statement may take. */
const MIGRATION_TIMEOUT_MS = 300_000;

/**
 * Brings the inventory's schema up to date; of any number of workers that start at once one migrates and the others wait for it.
 * A connection of its own holds the lock: a session's lock in a pool would stay with whichever connection took it.
 * @throws DatabaseUnavailable (retried).
 */
export async function migrateDatabase(url: string): Promise<void> {
  const database = connectDatabase(url, { maxConnections: 1, applicationName: 'image-volume-cache migrate' });
  try {
    await withDatabaseErrors(async () => {
      await database.orm.execute(sql.raw(`set lock_timeout = ${MIGRATION_TIMEOUT_MS}`));
      await database.orm.execute(sql.raw(`set statement_timeout = ${MIGRATION_TIMEOUT_MS}`));
      await database.orm.execute(sql`select pg_advisory_lock(${MIGRATION_LOCK})`);
      await migrate(database.orm, { migrationsFolder });
    });
  } finally {
    await database.close();
  }
}
