import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { connectDatabase, type Database } from '../../../db/client';
import { migrateDatabase } from '../../../db/migrate';
import { withDatabaseName } from './database-name';
import { createTestDatabase, newDatabaseName, testDatabaseUrl, type TestDatabase } from './postgres';

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

/** An inventory for a whole test file; before each of its tests it is empty, and then `prepare` fills it. */
export function useInventory(
  prepare?: (database: Database) => Promise<void>,
): Pick<MigratedDatabase, 'url' | 'database'> {
  const name = newDatabaseName();
  const url = withDatabaseName(testDatabaseUrl(), name);
  const database = connectDatabase(url, { maxConnections: MAX_CONNECTIONS, applicationName: 'test' });
  let created: TestDatabase | undefined;
  beforeAll(async () => {
    created = await createTestDatabase({ name, template: await ensureTemplate() });
  });
  beforeEach(async () => {
    await clear(database);
    await prepare?.(database);
  });
  afterAll(async () => {
    await database.close();
    await created?.drop();
  });
  return { url, database };
}

/** A test that failed may have left sessions that hold locks. */
async function clear({ sql: driver }: Database): Promise<void> {
  await driver`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and application_name <> 'test'`;
  const tables = await driver<{ name: string }[]>`select tablename as name from pg_tables where schemaname = 'public'`;
  await driver`truncate ${driver(tables.map(({ name }) => name))} restart identity`;
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
