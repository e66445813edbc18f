import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { migrate } from 'drizzle-orm/pg-proxy/migrator';
import type { Database } from '../../../db/client';
import { migrationsFolder } from '../../../db/schema-age';
import { createOrm, inTransaction, runStatement } from '../../../db/statement';

/** Gives an empty database the schema that it had after the first `migrations`, as a program of that time made it. */
export async function migrateAsEarlier(database: Database, migrations: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'ivc-migrations-'));
  try {
    cpSync(migrationsFolder, folder, { recursive: true });
    const path = join(folder, 'meta/_journal.json');
    const journal = JSON.parse(readFileSync(path, 'utf8')) as { entries: unknown[] };
    writeFileSync(path, JSON.stringify({ ...journal, entries: journal.entries.slice(0, migrations) }));
    await inTransaction(database, async (transaction) => {
      const run = async (statements: string[]): Promise<void> => {
        for (const statement of statements) await runStatement(transaction, sql.raw(statement));
      };
      await migrate(createOrm(transaction), run, { migrationsFolder: folder });
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Notes a migration that this program does not know, as a later one does. */
export async function noteLaterMigration(database: Database): Promise<void> {
  await database.orm.execute(
    sql`insert into drizzle.__drizzle_migrations (hash, created_at) select 'later', max(created_at) + 1 from drizzle.__drizzle_migrations`,
  );
}
