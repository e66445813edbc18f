import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'drizzle-orm';
import { openClient, type ImageVolumeCache } from '../../../client/connection';
import { connectDatabase, type Database } from '../../../db/client';
import { migrateDatabase } from '../../../db/migrate';
import { readSchemaAge } from '../../../db/schema-age';
import { migrateAsEarlier, noteLaterMigration } from '../../support/database/earlier-schema';
import { createTestDatabase } from '../../support/database/postgres';
import { runIvc } from '../../support/stack/ivc';

/** Before events, quotas, placement, snapshots and the API. */
const EARLIER = 6;

let empty: { url: string; drop(): Promise<void> };
let database: Database;
let directory: string;
let cache: ImageVolumeCache;
beforeEach(async () => {
  empty = await createTestDatabase();
  database = connectDatabase(empty.url, { maxConnections: 2 });
  directory = mkdtempSync(join(tmpdir(), 'ivc-schema-age-'));
  writeFileSync(join(directory, 'temporal.yaml'), `database: { url: '${empty.url}' }\n`);
  cache = openClient({ config: join(directory, 'temporal.yaml'), dataDirectory: join(directory, 'data') });
});
afterEach(async () => {
  await cache.close();
  await database.close();
  await empty.drop();
  rmSync(directory, { recursive: true, force: true });
});

const ivc = (...args: string[]) =>
  runIvc(args, {
    PATH: process.env['PATH'],
    IVC_CONFIG: join(directory, 'temporal.yaml'),
    IVC_DATA: join(directory, 'data'),
  });

test('a database that no worker has migrated is said to hold nothing yet', async () => {
  expect(await readSchemaAge(database)).toBe('none');
  const { exitCode, stderr } = await ivc('volume', 'list');
  expect({ exitCode, stderr }).toMatchObject({
    exitCode: 5,
    stderr: expect.stringContaining('holds no inventory yet') as string,
  });
});

test('a program that is newer than the database says that a worker must be started, once', async () => {
  await migrateAsEarlier(database, EARLIER);
  expect(await readSchemaAge(database)).toBe('older');
  const { exitCode, stdout, stderr } = await ivc('volume', 'list');
  expect({ exitCode, stdout }).toEqual({ exitCode: 5, stdout: '' });
  expect(stderr).toMatch(/^ivc: the database was made by an older version .*`ivc worker`.*\n$/);
  expect(stderr).not.toContain('42703');
  await expect((await cache.inventory()).ping()).rejects.toMatchObject({ type: 'OtherVersion' });

  expect(await migrateDatabase(empty.url)).toBe('same');
  expect(await ivc('volume', 'list', '-o', 'json')).toMatchObject({ exitCode: 0 });
  expect(await (await cache.inventory()).ping()).toEqual({ isOwnVersion: true });
});

test('a program that is older than the database works where it knows what it asks for, else says why it cannot', async () => {
  await migrateDatabase(empty.url);
  await noteLaterMigration(database);
  expect(await migrateDatabase(empty.url)).toBe('newer');
  const works = await ivc('volume', 'list', '-o', 'json');
  expect(works).toMatchObject({ exitCode: 0 });
  expect(await (await cache.inventory()).ping()).toEqual({ isOwnVersion: false });

  await database.orm.execute(sql`alter table volumes rename column description to told`);
  const { exitCode, stderr } = await ivc('volume', 'list');
  expect({ exitCode, stderr }).toMatchObject({
    exitCode: 5,
    stderr: expect.stringContaining('by a newer version than this program: install') as string,
  });
});

test('an account that may not read which migrations there were is told that the versions differ', async () => {
  await migrateAsEarlier(database, EARLIER);
  const role = `reader_${Date.now()}`;
  await database.orm.execute(sql.raw(`create role ${role} login password 'reader'`));
  try {
    await database.orm.execute(sql.raw(`grant select on all tables in schema public to ${role}`));
    await database.orm.execute(sql.raw(`alter database ${new URL(empty.url).pathname.slice(1)} set role = ${role}`));
    const { exitCode, stderr } = await ivc('volume', 'list');
    expect({ exitCode, stderr }).toMatchObject({
      exitCode: 5,
      stderr: expect.stringContaining('made by another version than this program') as string,
    });
  } finally {
    await database.orm.execute(sql.raw(`drop owned by ${role}`));
    await database.orm.execute(sql.raw(`alter database ${new URL(empty.url).pathname.slice(1)} reset role`));
    await database.orm.execute(sql.raw(`drop role ${role}`));
  }
});
