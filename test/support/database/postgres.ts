import { randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { parseDatabaseUrl } from '../../../db/url';
import { withDatabaseName } from './database-name';

export interface TestDatabase {
  url: string;
  /** Removes it, whoever is still connected. */
  drop: () => Promise<void>;
}

/** Makes an empty database, or a copy of `template`, on the PostgreSQL of this test run. */
export async function createTestDatabase({
  template = 'template1',
  name = newDatabaseName(),
}: { template?: string; name?: string } = {}): Promise<TestDatabase> {
  const adminUrl = testDatabaseUrl();
  await administer(adminUrl, (sql) => sql`CREATE DATABASE ${sql(name)} TEMPLATE ${sql(template)}`);
  return {
    url: withDatabaseName(adminUrl, name),
    drop: () => administer(adminUrl, (sql) => sql`DROP DATABASE IF EXISTS ${sql(name)} WITH (FORCE)`),
  };
}

export function newDatabaseName(): string {
  return `test_${randomUUID().replaceAll('-', '')}`;
}

/** @returns the administrator's URL. @throws Error when the suite's project does not name the global setup. */
export function testDatabaseUrl(): string {
  const url = process.env['IVC_TEST_DATABASE_URL'];
  if (url === undefined)
    throw new Error(
      'IVC_TEST_DATABASE_URL is not set: the project of this suite must name test/support/jest/global-setup.ts in jest.config.js',
    );
  return url;
}

async function administer(url: string, work: (sql: postgres.Sql) => Promise<unknown>): Promise<void> {
  const { host, port, database, user, password } = parseDatabaseUrl(url);
  const sql = postgres({ host, port, database, user, password: password ?? '', max: 1, onnotice: () => undefined });
  try {
    await work(sql);
  } finally {
    await sql.end({ timeout: 1 });
  }
}
