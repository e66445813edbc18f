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

/** Sends one statement. @throws DatabaseUnavailable (retried). */
export function runStatement<Row extends RawRow = RawRow>(on: Queryable, statement: SQL): Promise<Row[]> {
  const { sql: text, params } = dialect.sqlToQuery(statement);
  return withDatabaseErrors(async () => [...(await sendStatement<Row[]>(on, text, params))]);
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
    return [key, value === null || value === undefined ? null : column.mapFromDriverValue(value)];
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
