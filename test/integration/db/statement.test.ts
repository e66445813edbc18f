import { getTableColumns, is, sql } from 'drizzle-orm';
import { PgTable } from 'drizzle-orm/pg-core';
import { findBackend } from '../../../db/backends';
import { connectDatabase, type Database } from '../../../db/client';
import * as schema from '../../../db/schema';
import { cast, columnsOf, readRows, readTable } from '../../../db/statement';
import { useInventory } from '../../support/database/database';
import { BACKEND, LIMITS, registerLocal } from '../../support/database/rows';

const { url } = useInventory(registerLocal);
const tables = Object.entries(schema).flatMap(([name, table]) => (is(table, PgTable) ? [{ name, table }] : []));
const sent: string[] = [];
let database: Database;

beforeAll(() => {
  // Under this name it outlives the emptying of the inventory before each test.
  const applicationName = 'test';
  database = connectDatabase(url, { maxConnections: 1, applicationName, onStatement: (text) => sent.push(text) });
});
afterAll(() => database.close());

/** @returns names and types of the columns of the statement that was sent last, as PostgreSQL describes it. */
async function describeLast(): Promise<Record<string, string>> {
  const text = sent.at(-1) ?? '';
  const { columns } = await database.sql.unsafe(text).describe();
  const types = await database.sql<
    { oid: number; name: string }[]
  >`select oid::int, format_type(oid, null) as name from pg_type`;
  return Object.fromEntries(
    columns.map((column) => [column.name, types.find(({ oid }) => oid === column.type)?.name ?? '']),
  );
}

it.each(tables)('a statement on $name has the columns of the schema, of their types', async ({ table }) => {
  await readTable(
    database,
    table,
    (columns) => sql`with rows as (select ${columnsOf(table)} from ${table}) select ${columns} from rows`,
  );
  const expected = Object.values(getTableColumns(table)).map((column) => [
    column.name,
    column.getSQLType().replace('serial', 'int'),
  ]);
  expect(await describeLast()).toEqual(Object.fromEntries(expected));
});

it('an expression is of the type that it is cast to', async () => {
  const fields = {
    integer: cast.integer(sql`'9007199254740991'`),
    float: cast.float(sql`1`),
    boolean: cast.boolean(sql`0`),
    text: cast.text(sql`7`),
    json: cast.json<{ a: number }>(sql`'{"a": 1}'`),
    nothing: cast.text<string | null>(sql`null`),
  };
  expect(await readRows(database, fields, (columns) => sql`select ${columns}`)).toEqual([
    { integer: Number.MAX_SAFE_INTEGER, float: 1, boolean: false, text: '7', json: { a: 1 }, nothing: null },
  ]);
  expect(await describeLast()).toEqual({
    integer: 'bigint',
    float: 'double precision',
    boolean: 'boolean',
    text: 'text',
    json: 'jsonb',
    nothing: 'text',
  });
});

it('what cannot be cast is refused before anything is done', async () => {
  const changed = sql`with changed as (update backends set max_count = 7 returning name, max_count)`;
  const fields = { atOnce: cast.boolean(sql`now()`) };
  await expect(
    readRows(database, fields, (columns) => sql`${changed} select ${columns} from changed`),
  ).rejects.toMatchObject({ type: 'DatabaseRefused', details: { sqlState: '42846' } });
  expect(await findBackend(database, { name: BACKEND })).toMatchObject({ maxCount: LIMITS.maxCount });
});
