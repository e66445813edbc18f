import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { connectDatabase, type Database } from '../../../db/client';
import { migrateDatabase } from '../../../db/migrate';
import { withDatabaseName } from './database-name';
import { createTestDatabase, testDatabaseUrl } from './postgres';

export interface MigratedDatabase {
  url: string;
  database: Database;
  /** Closes the pool and removes the database. */
  drop(): Promise<void>;
}

const TEMPLATE_LOCK = 7_301_946_528;
const MAX_CONNECTIONS = 8;

/** A database of its own with the inventory's schema: a copy of one that is migrated once for all test files. */
export async function createMigratedDatabase(): Promise<MigratedDatabase> {
  const { url, drop } = await createTestDatabase({ template: await ensureTemplate() });
  const database = connectDatabase(url, { maxConnections: MAX_CONNECTIONS, applicationName: 'test' });
  return {
    url,
    database,
    drop: async () => {
      await database.close();
      await drop();
    },
  };
}

/** Named after the migrations, so that a server that outlives a run never serves an old schema. */
async function ensureTemplate(): Promise<string> {
  const name = `template_${migrationsHash()}`;
  const server = connectDatabase(testDatabaseUrl(), { maxConnections: 1, applicationName: 'test set-up' });
  try {
    await server.orm.execute(sql`select pg_advisory_lock(${TEMPLATE_LOCK})`);
    const existing = await server.orm.execute(sql`select 1 from pg_database where datname = ${name}`);
    if (existing.length === 0) await createTemplate(server, name);
  } finally {
    await server.close();
  }
  return name;
}

async function createTemplate(server: Database, name: string): Promise<void> {
  const unfinished = sql.identifier(`${name}_unfinished`);
  await server.orm.execute(sql`drop database if exists ${unfinished} with (force)`);
  await server.orm.execute(sql`create database ${unfinished}`);
  await migrateDatabase(withDatabaseName(testDatabaseUrl(), `${name}_unfinished`));
  await server.orm.execute(sql`alter database ${unfinished} rename to ${sql.identifier(name)}`);
}

function migrationsHash(): string {
  const folder = join(__dirname, '../../../db/migrations');
  const journal = JSON.parse(readFileSync(join(folder, 'meta/_journal.json'), 'utf8')) as {
    entries: { tag: string }[];
  };
  const hash = createHash('sha256');
  for (const { tag } of journal.entries) hash.update(readFileSync(join(folder, `${tag}.sql`)));
  return hash.digest('hex').slice(0, 16);
}
