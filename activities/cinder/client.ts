import type * as mysqlModule from 'mysql2/promise';
import type postgresModule from 'postgres';
import { errorMessage } from '../../lib/error-message';
import type { CinderUrl } from './cinder-url';

/** Cinder's database cannot be read. */
export class CinderDatabaseError extends Error {
  override readonly name = 'CinderDatabaseError';
}

/** One transaction, in which everything is read as it was at one moment, and nothing can be written. */
export interface CinderReader {
  /** Names in double quotes; times are text, `2026-11-28 11:42:15`, in UTC. */
  query(statement: string): Promise<Record<string, unknown>[]>;
  /** An expression: whole seconds since a time of that column. */
  secondsSince(column: string): string;
}

const CONNECT_TIMEOUT_MS = 10_000;

/** Runs `read` in a transaction of its own. @throws CinderDatabaseError. */
export async function readCinderDatabase<Result>(
  url: CinderUrl,
  read: (reader: CinderReader) => Promise<Result>,
): Promise<Result> {
  return url.dialect === 'mysql' ? await inMysql(url, read) : await inPostgres(url, read);
}

async function inMysql<Result>(
  { host, port, socketPath, user, password, database, tls }: CinderUrl,
  read: (reader: CinderReader) => Promise<Result>,
): Promise<Result> {
  // Loaded by who asks for it.
  const { createConnection }: typeof mysqlModule = require('mysql2/promise');
  const connection = await asOurs(() =>
    createConnection({
      ...(socketPath === undefined ? { host, port: port ?? 3306 } : { socketPath }),
      user,
      password,
      database,
      ssl: tls,
      connectTimeout: CONNECT_TIMEOUT_MS,
      dateStrings: true,
      timezone: 'Z',
    }),
  );
  // An error between two statements is reported by the next one.
  connection.on('error', () => undefined);
  const query = async (statement: string): Promise<Record<string, unknown>[]> => {
    const [rows] = await asOurs(() => connection.query(statement));
    return Array.isArray(rows) ? (rows as Record<string, unknown>[]) : [];
  };
  try {
    await query("set session sql_mode = 'ANSI_QUOTES'");
    await query('set transaction isolation level repeatable read');
    await query('start transaction with consistent snapshot, read only');
    const secondsSince = (column: string): string =>
      `cast(timestampdiff(second, ${column}, utc_timestamp()) as signed)`;
    return await read({ query, secondsSince });
  } finally {
    connection.destroy();
  }
}

async function inPostgres<Result>(
  { host, port, user, password, database, tls }: CinderUrl,
  read: (reader: CinderReader) => Promise<Result>,
): Promise<Result> {
  const postgres: typeof postgresModule = require('postgres');
  const asText = (text: string): string => text;
  const sql = postgres({
    host,
    port: port ?? 5432,
    user,
    password,
    database,
    ssl: tls === undefined ? false : { ca: tls.ca },
    max: 1,
    connect_timeout: CONNECT_TIMEOUT_MS / 1000,
    fetch_types: false,
    onnotice: () => undefined,
    types: { time: { to: 1114, from: [1114], serialize: asText, parse: asText } },
  });
  const secondsSince = (column: string): string =>
    `cast(extract(epoch from (now() at time zone 'utc') - ${column}) as integer)`;
  try {
    const outcome = await asOurs(() =>
      sql.begin('isolation level repeatable read read only', async (transaction) => {
        const query = async (statement: string) => [...(await asOurs(() => transaction.unsafe(statement)))];
        return { value: await read({ query, secondsSince }) };
      }),
    );
    return outcome.value;
  } finally {
    await sql.end({ timeout: 1 });
  }
}

/** Errors of a driver become ours, with its message; the system's and its own have a code. */
async function asOurs<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof CinderDatabaseError || !isDriverError(cause)) throw cause;
    throw new CinderDatabaseError(`Cinder's database cannot be read: ${errorMessage(cause)}`, { cause });
  }
}

/** An error of another kind, such as a row of another shape than we know, has no code. */
function isDriverError(error: unknown): boolean {
  return error instanceof Error && 'code' in error;
}
