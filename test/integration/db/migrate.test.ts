import { sql } from 'drizzle-orm';
import { connectDatabase, type Database } from '../../../db/client';
import { migrateDatabase } from '../../../db/migrate';
import { createTestDatabase } from '../../support/database/postgres';
import { holding, untilBlocked } from './locks';

let database: Database;
let empty: { url: string; drop(): Promise<void> };
beforeEach(async () => {
  empty = await createTestDatabase();
  database = connectDatabase(empty.url, { maxConnections: 2 });
});
afterEach(async () => {
  await database.close();
  await empty.drop();
});

async function migrations(): Promise<number> {
  const [row] = await database.orm.execute<{ count: number }>(
    sql`select count(*) as count from drizzle.__drizzle_migrations`,
  );
  return row?.count ?? 0;
}

test('workers that start at once migrate once', async () => {
  await Promise.all(Array.from({ length: 4 }, () => migrateDatabase(empty.url)));
  const once = await migrations();
  await migrateDatabase(empty.url);
  expect(once).toBeGreaterThan(0);
  expect(await migrations()).toBe(once);
});

test('a worker waits for the migration of another', async () => {
  const lock = await holding(empty.url, sql`select pg_advisory_xact_lock(4918273645)`);
  const waiting = migrateDatabase(empty.url);
  await untilBlocked(database, { text: 'pg_advisory_xact_lock' });
  expect(await database.orm.execute(sql`select 1 from pg_tables where tablename = 'volumes'`)).toHaveLength(0);
  await lock.commit();
  await waiting;
  expect(await database.orm.execute(sql`select 1 from pg_tables where tablename = 'volumes'`)).toHaveLength(1);
});

test('a server that does not answer is a failure that is retried', async () => {
  await expect(migrateDatabase('postgres://nobody@/nothing?host=/nonexistent')).rejects.toMatchObject({
    type: 'DatabaseUnavailable',
  });
});
