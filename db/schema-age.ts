import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bigint } from 'drizzle-orm/pg-core/columns';
import { pgSchema } from 'drizzle-orm/pg-core/schema';
import { sql } from 'drizzle-orm/sql';
import { cast, query, readRows, type Queryable } from './statement';

/** Beside this file, in the source tree as in the build. */
export const migrationsFolder = join(__dirname, 'migrations');

/** Drizzle's own. */
const migrations = pgSchema('drizzle').table('__drizzle_migrations', {
  createdAt: bigint('created_at', { mode: 'number' }),
});

/** How the schema of a database compares with the one that this program was built with; `none` is a database that nobody has migrated. */
export type SchemaAge = 'none' | 'older' | 'same' | 'newer';

/**
 * The last migration that a database has had, against the last one of this program.
 * @throws DatabaseUnavailable (retried); DatabaseRefused for an account that may not read the table of migrations.
 */
export async function readSchemaAge(on: Queryable): Promise<SchemaAge> {
  const known = { isKept: cast.boolean(sql`to_regclass('drizzle.__drizzle_migrations') is not null`) };
  const [found] = await readRows(on, known, (columns) => sql`select ${columns}`);
  if (found?.isKept !== true) return 'none';
  const newest = { at: cast.integer<number | null>(sql`max(${migrations.createdAt})`) };
  const [last] = await query(on, (orm) => orm.select(newest).from(migrations));
  if (last?.at == null) return 'none';
  const own = lastMigrationAt();
  if (last.at === own) return 'same';
  return last.at < own ? 'older' : 'newer';
}

let lastMigration: number | undefined;

/** @returns when the last migration of this program was made: by this Drizzle orders them, and knows those that a database has had. */
function lastMigrationAt(): number {
  return (lastMigration ??= readLastMigration());
}

function readLastMigration(): number {
  const journal = JSON.parse(readFileSync(join(migrationsFolder, 'meta/_journal.json'), 'utf8')) as {
    entries: { when: number }[];
  };
  return Math.max(...journal.entries.map(({ when }) => when));
}
