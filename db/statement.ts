import { Column } from 'drizzle-orm/column';
import { getTableColumns } from 'drizzle-orm/utils';
import { is } from 'drizzle-orm/entity';
import { sql, type SQL } from 'drizzle-orm/sql';
import type { GetColumnData } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import { PgDialect } from 'drizzle-orm/pg-core/dialect';
import type * as builders from 'drizzle-orm/pg-proxy';
import type postgres from 'postgres';
import { toStorableText } from '../workflows/contract/storable-text';
import { traced, type SpanOf } from '../lib/traced';
import { withDatabaseErrors } from './errors';

type DriverTypes = { bigint: number; time: string; json: string };
export type DriverSql = postgres.Sql<DriverTypes>;

/** Where a statement can be sent: the pool, or one open transaction. */
export interface Queryable {
  readonly sql: DriverSql | postgres.TransactionSql<DriverTypes>;
}

const dialect = new PgDialect();

/** Sends one statement. @returns how many rows it has read or changed. @throws DatabaseUnavailable (retried). */
export function runStatement(on: Queryable, statement: SQL): Promise<number> {
  const { sql: text, params } = dialect.sqlToQuery(statement);
  return withDatabaseErrors(async () => (await sendStatement(on, { text, params })).count);
}

/** The time of a statement's transaction. */
export const transactionTime = sql`now()`;

/** The columns of an answer, by their names here: those of the schema, and expressions of a `cast`. */
type Fields = Record<string, Column | SQL>;
export type RowOf<Of extends Fields> = {
  [Name in keyof Of]: Of[Name] extends Column
    ? GetColumnData<Of[Name]>
    : Of[Name] extends SQL<infer Value>
      ? Value
      : never;
};

/** An expression that PostgreSQL makes of the type that it is said to have, or refuses the statement. */
export const cast = {
  integer: <Value extends number | null = number>(of: SQL) => sql<Value>`(${of})::bigint`,
  float: <Value extends number | null = number>(of: SQL) => sql<Value>`(${of})::float8`,
  boolean: <Value extends boolean | null = boolean>(of: SQL) => sql<Value>`(${of})::boolean`,
  text: <Value extends string | null = string>(of: SQL) => sql<Value>`(${of})::text`,
  json: <Value extends object | null>(of: SQL) => sql<Value>`(${of})::jsonb`,
};

/**
 * Sends a statement that is made with the list of these columns, and so has no other: those of the schema by their
 * names.
 * @throws DatabaseUnavailable (retried).
 */
export async function readRows<Of extends Fields>(
  on: Queryable,
  fields: Of,
  statement: (columns: SQL) => SQL,
): Promise<RowOf<Of>[]> {
  const { columns, read } = answerOf(fields);
  const { sql: text, params } = dialect.sqlToQuery(statement(columns));
  const rows = await withDatabaseErrors(() => sendStatement(on, { text, params }));
  return rows.map(read);
}

interface Answer<Of extends Fields> {
  columns: SQL;
  read: (row: Record<string, unknown>) => RowOf<Of>;
}

/** Of a table's own columns: to put forty names together again for each statement is a fifth of what a volume costs that is shown. */
const answers = new WeakMap<Fields, Answer<Fields>>();

function answerOf<Of extends Fields>(fields: Of): Answer<Of> {
  const known = answers.get(fields) ?? { columns: namesOf(fields), read: rowReader<Fields>(fields) };
  answers.set(fields, known);
  return known as Answer<Of>;
}

function namesOf(fields: Fields): SQL {
  const ofSchema = Object.values(fields).filter((field) => is(field, Column));
  if (ofSchema.length === Object.keys(fields).length)
    return sql.raw(ofSchema.map(({ name }) => dialect.escapeName(name)).join(', '));
  const columns = Object.entries(fields).map(([name, field]) =>
    is(field, Column) ? sql.identifier(field.name) : sql`${field} as ${sql.identifier(name)}`,
  );
  return sql.join(columns, sql`, `);
}

/** Facts that are the same for every row are looked up once: a list has a thousand of forty columns. */
function rowReader<Of extends Fields>(fields: Of): (row: Record<string, unknown>) => RowOf<Of> {
  const columns = Object.entries(fields).map(([name, field]) =>
    is(field, Column) ? { name, from: field.name, column: field } : { name, from: name, column: undefined },
  );
  return (row) => {
    const read: Record<string, unknown> = {};
    for (const { name, from, column } of columns) {
      const value = row[from];
      read[name] = column === undefined || value === null ? value : column.mapFromDriverValue(value);
    }
    return read as RowOf<Of>;
  };
}

/**
 * `readRows` of all columns of a table, never `*`: a column added by a newer worker must not change an older worker's
 * prepared result.
 */
export function readTable<Table extends PgTable>(
  on: Queryable,
  table: Table,
  statement: (columns: SQL) => SQL,
): Promise<Table['$inferSelect'][]> {
  return readRows(on, getTableColumns(table), statement);
}

/**
 * @returns how many rows the planner thinks a statement has; autovacuum keeps that fresh. Source: PostgreSQL's EXPLAIN,
 * format JSON.
 */
export async function estimateRows(on: Queryable, statement: SQL): Promise<number> {
  const { sql: text, params } = dialect.sqlToQuery(sql`explain (format json) ${statement}`);
  const [row] = await withDatabaseErrors(() => sendStatement(on, { text, params }));
  const plans = row?.['QUERY PLAN'] as { Plan?: { 'Plan Rows'?: number } }[] | undefined;
  return plans?.[0]?.Plan?.['Plan Rows'] ?? 0;
}

/** A row of what the function reads. */
export type RowRead<By extends (...of: never[]) => Promise<unknown[]>> = Awaited<ReturnType<By>>[number];

/** Sends what drizzle's builder has made. @throws DatabaseUnavailable (retried). */
export function query<Result>(
  on: Queryable,
  build: (orm: builders.PgRemoteDatabase) => PromiseLike<Result>,
): Promise<Result> {
  return withDatabaseErrors(async () => await build(createOrm(on)));
}

/**
 * @returns drizzle's builders over the same way of sending; their errors are the driver's, for `withDatabaseErrors`.
 */
export function createOrm(on: Queryable): builders.PgRemoteDatabase {
  // Loaded with the first statement that is made by them: a list of volumes needs none.
  const { drizzle }: typeof builders = require('drizzle-orm/pg-proxy');
  return drizzle(async (text, params, method) => {
    return { rows: [...(await sendStatement(on, { text, params, asValues: method === 'all' }))] };
  });
}

interface Sent {
  text: string;
  params: unknown[];
  /** Rows as lists of values. */
  asValues?: boolean;
}

/** Prepared once for each connection: a hit's statements are planned once, not for every volume. */
function sendStatement(on: Queryable, { text, params, asValues = false }: Sent) {
  const kept = params.map((param) => (typeof param === 'string' ? toStorableText(param) : param));
  return traced(
    () => statementSpan(text),
    async () => {
      const sent = on.sql.unsafe<Record<string, unknown>[]>(text, kept as never[], { prepare: true });
      return await (asValues ? (sent.values() as unknown as typeof sent) : sent);
    },
  );
}

/** The text has places for values, and none of them. */
function statementSpan(text: string): SpanOf {
  const [operation = ''] = text.trim().split(/\s/, 1);
  const attributes = { 'db.system.name': 'postgresql', 'db.query.text': text };
  return { name: operation.toUpperCase(), attributes };
}

/**
 * Runs `work` in one READ COMMITTED transaction: each of its statements sees what was committed before that statement,
 * which is what "lock, then read in a second statement" relies on.
 * @throws DatabaseUnavailable (retried); whether the transaction was committed is then in doubt.
 */
export async function inTransaction<T>(
  database: { readonly sql: DriverSql },
  work: (transaction: Queryable) => Promise<T>,
): Promise<T> {
  const span = () => ({ name: 'transaction', attributes: { 'db.system.name': 'postgresql' } });
  const outcome = await withDatabaseErrors(() =>
    traced(span, () =>
      database.sql.begin('isolation level read committed', async (transaction) => ({
        value: await work({ sql: transaction }),
      })),
    ),
  );
  return outcome.value;
}

/** The names of a table's columns, for a part of a statement. */
export function columnsOf(table: PgTable, alias?: string): SQL {
  const columns = Object.values(getTableColumns(table));
  return sql.join(
    columns.map((column) =>
      alias === undefined ? sql.identifier(column.name) : sql`${sql.identifier(alias)}.${sql.identifier(column.name)}`,
    ),
    sql`, `,
  );
}

/** `column = 'value'`, no parameter: a plan for all values cannot use an index of some rows. */
export function isLiteral<Of extends Column>(column: Of, value: GetColumnData<Of, 'raw'> & string): SQL {
  return sql`${column} = ${sql.raw(`'${value}'`)}`;
}

/**
 * A jsonb parameter. A text that we have cut, as a failure's message, may end in half a character, which is replaced.
 */
export function json(value: unknown): SQL {
  return value === undefined || value === null ? sql`null::jsonb` : sql`${JSON.stringify(value, storableOnly)}::jsonb`;
}

function storableOnly(_key: string, value: unknown): unknown {
  if (typeof value === 'string') return toStorableText(value);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, own]) => [toStorableText(key), own]));
}

/** A text[] of one parameter: one prepared text whatever the number of values. */
export function texts(values: readonly string[]): SQL {
  return sql`array(select jsonb_array_elements_text(${json(values)}))`;
}

/** A uuid[] parameter, likewise. */
export function uuids(ids: readonly string[]): SQL {
  return sql`${`{${ids.join(',')}}`}::uuid[]`;
}

/** Whether `column` is one of these. One id alone is compared as such: its plan is found once, whatever may be planned for many. */
export function isOneOf(column: SQL, ids: readonly string[]): SQL {
  return ids.length === 1 ? sql`${column} = ${ids[0]}::uuid` : sql`${column} = any (${uuids(ids)})`;
}

/** Rows as a parameter, to follow `from`. One row alone is known to be one, which the planner would take for a hundred. */
export function recordset(rows: readonly object[], columns: SQL): SQL {
  return sql`(select * from jsonb_to_recordset(${json(rows)}) as given (${columns})${rows.length === 1 ? sql` limit 1` : sql``}) given`;
}
