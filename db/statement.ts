import { getTableColumns, sql, type InferSelectModel, type SQL } from 'drizzle-orm';
import { PgDialect, type PgTable } from 'drizzle-orm/pg-core';
import { drizzle, type PgRemoteDatabase } from 'drizzle-orm/pg-proxy';
import type postgres from 'postgres';
import type { Database, DriverSql } from './client';
import { toStorableText } from '../workflows/contract/storable-text';
import { withDatabaseErrors } from './errors';

type DriverTransaction = DriverSql extends postgres.Sql<infer Types> ? postgres.TransactionSql<Types> : never;

/** Where a statement can be sent: the pool, or one open transaction. */
export interface Queryable {
  readonly sql: DriverSql | DriverTransaction;
}

/** A row as the driver gives it: columns by their names in the database. */
export type RawRow = Record<string, unknown>;

const dialect = new PgDialect();

/** Sends one statement; `readRows` and `readTable` give its rows a type. @throws DatabaseUnavailable (retried). */
export function runStatement(on: Queryable, statement: SQL): Promise<RawRow[]> {
  const { sql: text, params } = dialect.sqlToQuery(statement);
  return withDatabaseErrors(async () => [...(await sendStatement(on, text, params))]);
}

/** What a column of a statement holds: the column's type and its check. */
type Column<Value> = (value: unknown) => value is Value;
type Columns<Row> = { readonly [Name in keyof Row]: Column<Row[Name]> };
export type RowOf<Of> = { [Name in keyof Of]: Of[Name] extends Column<infer Value> ? Value : never };

/** Checks of columns; the driver gives times as text. */
export const is = {
  // oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- an id of one kind is told from another by its type alone
  text: <Value extends string = string>(value: unknown): value is Value => typeof value === 'string',
  number: (value: unknown): value is number => typeof value === 'number',
  boolean: (value: unknown): value is boolean => typeof value === 'boolean',
  array: <Item>(value: unknown): value is Item[] => Array.isArray(value),
  json: (value: unknown): value is unknown => value !== undefined,
  nullable:
    <Value>(column: Column<Value>): Column<Value | null> =>
    (value): value is Value | null =>
      value === null || column(value),
};

/** Sends a statement that has exactly these columns. @throws DatabaseUnavailable (retried). */
export async function readRows<Row>(on: Queryable, columns: Columns<Row>, statement: SQL): Promise<Row[]> {
  const rows = await runStatement(on, statement);
  const expected = Object.keys(columns).length;
  for (const row of rows)
    if (Object.keys(row).length !== expected) throw new Error(`columns: got ${Object.keys(row).join(', ')}`);
  return rows.map((row) => parseColumns(columns, row));
}

/** @returns the row, of whose columns these are checked. */
export function parseColumns<Row>(columns: Columns<Row>, row: RawRow): Row {
  for (const name in columns)
    if (!columns[name](row[name]))
      throw new Error(`column ${name}: got ${row[name] === null ? 'null' : typeof row[name]}`);
  return row as Row;
}

/** Sends a statement that has all of `columnsOf(table)`. @throws DatabaseUnavailable (retried). */
export async function readTable<Table extends PgTable>(
  on: Queryable,
  table: Table,
  statement: SQL,
): Promise<InferSelectModel<Table>[]> {
  return (await runStatement(on, statement)).map((row) => parseRow(table, row));
}

/** Sends a statement of drizzle's builder. @throws DatabaseUnavailable (retried). */
export function run<Result>(on: Queryable, build: (orm: PgRemoteDatabase) => PromiseLike<Result>): Promise<Result> {
  return withDatabaseErrors(async () => await build(createOrm(on)));
}

/** @returns drizzle's builders over the same way of sending; their errors are the driver's, for `withDatabaseErrors`. */
export function createOrm(on: Queryable): PgRemoteDatabase {
  return drizzle(async (text, params, method) => {
    const sent = sendStatement(on, text, params);
    return { rows: [...(await (method === 'all' ? sent.values() : sent))] };
  });
}

/** Prepared once for each connection: a hit's statements are planned once, not for every volume. */
function sendStatement<Rows extends RawRow[]>(on: Queryable, text: string, params: unknown[]) {
  const kept = params.map((param) => (typeof param === 'string' ? toStorableText(param) : param));
  return on.sql.unsafe<Rows>(text, kept as never[], { prepare: true });
}

/**
 * Runs `work` in one READ COMMITTED transaction: each of its statements sees what was committed before that statement,
 * which is what "lock, then read in a second statement" relies on.
 * @throws DatabaseUnavailable (retried); whether the transaction was committed is then in doubt.
 */
export async function inTransaction<T>(database: Database, work: (transaction: Queryable) => Promise<T>): Promise<T> {
  const outcome = await withDatabaseErrors(() =>
    database.sql.begin('isolation level read committed', async (transaction) => ({
      value: await work({ sql: transaction }),
    })),
  );
  return outcome.value;
}

/** The table's columns by name (never `*`: a column added by a newer worker must not change an older worker's prepared result). */
export function columnsOf(table: PgTable, alias?: string): SQL {
  const columns = Object.values(getTableColumns(table));
  return sql.join(
    columns.map((column) =>
      alias === undefined ? sql.identifier(column.name) : sql`${sql.identifier(alias)}.${sql.identifier(column.name)}`,
    ),
    sql`, `,
  );
}

/** Turns a driver's row that has all of `columnsOf(table)` into the table's row type. */
export function parseRow<Table extends PgTable>(table: Table, row: RawRow): InferSelectModel<Table> {
  const entries = Object.entries(getTableColumns(table)).map(([key, column]) => {
    const value = row[column.name];
    if (value === undefined) throw new Error(`column ${column.name} is missing`);
    return [key, value === null ? null : column.mapFromDriverValue(value)];
  });
  return Object.fromEntries(entries) as InferSelectModel<Table>;
}

/** A jsonb parameter. What comes from foreign parts is clean; what we cut of it, as a message of a failure, may end in half a character. */
export function json(value: unknown): SQL {
  return value === undefined || value === null ? sql`null::jsonb` : sql`${JSON.stringify(value, storableOnly)}::jsonb`;
}

function storableOnly(_key: string, value: unknown): unknown {
  if (typeof value === 'string') return toStorableText(value);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, own]) => [toStorableText(key), own]));
}

/** A uuid[] parameter: one prepared text whatever the number of ids. */
export function uuids(ids: readonly string[]): SQL {
  return sql`${`{${ids.join(',')}}`}::uuid[]`;
}
