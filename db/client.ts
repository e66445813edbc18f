import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { withDatabaseErrors } from './errors';
import { parseDatabaseUrl } from './url';

export interface ConnectOptions {
  maxConnections: number;
  /** Shown in `pg_stat_activity`. */
  applicationName?: string;
  /** Called with the text of every statement that is sent, `begin` and `commit` included. */
  onStatement?(text: string): void;
}

/** A pool of connections to the inventory. */
export interface Database {
  readonly sql: DriverSql;
  readonly orm: PostgresJsDatabase;
  /** Statements sent so far, `begin` and `commit` included. */
  statements(): number;
  /** @throws DatabaseUnavailable (retried). */
  ping(): Promise<void>;
  /** Lets running statements end, at most `CLOSE_TIMEOUT_SECONDS`. */
  close(): Promise<void>;
}

export type DriverSql = postgres.Sql<{ bigint: number }>;

const CONNECT_TIMEOUT_SECONDS = 5;
const IDLE_TIMEOUT_SECONDS = 60;
const CLOSE_TIMEOUT_SECONDS = 5;
/** A server that restarts is found again this soon; the driver's own back-off goes up to 20 s. */
const RECONNECT_DELAY_SECONDS = 0.25;

/** Server-side limits of every session: no statement, lock or forgotten transaction holds a row for ever. */
export const sessionLimitsMs = {
  statement_timeout: 30_000,
  lock_timeout: 10_000,
  idle_in_transaction_session_timeout: 30_000,
} as const;

/**
 * Opens connections as they are needed; nothing is connected yet when this returns.
 * @throws InvalidRequest for an URL that cannot be read.
 */
export function connectDatabase(url: string, options: ConnectOptions): Database {
  const { ssl, host, port, database, user, password, applicationName } = parseDatabaseUrl(url);
  let statements = 0;
  const sql = postgres({
    host,
    port,
    database,
    user,
    ...(password === undefined ? {} : { password }),
    ssl,
    max: options.maxConnections,
    connect_timeout: CONNECT_TIMEOUT_SECONDS,
    idle_timeout: IDLE_TIMEOUT_SECONDS,
    backoff: () => RECONNECT_DELAY_SECONDS,
    fetch_types: false,
    onnotice: () => {},
    types: { bigint: losslessBigint },
    connection: {
      application_name: options.applicationName ?? applicationName ?? 'image-volume-cache',
      ...sessionLimitsMs,
    },
    debug: (_connection, text) => {
      statements += 1;
      options.onStatement?.(text);
    },
  });
  return {
    sql,
    orm: drizzle(sql),
    statements: () => statements,
    ping: () => withDatabaseErrors(async () => void (await sql`select 1`)),
    close: () => sql.end({ timeout: CLOSE_TIMEOUT_SECONDS }),
  };
}

/** Byte counts stay below 2^53; a bigint that does not is an error rather than another number. */
const losslessBigint = {
  to: 20,
  from: [20],
  serialize: (value: number) => String(value),
  parse: (text: string) => {
    const value = Number(text);
    if (!Number.isSafeInteger(value)) throw new RangeError(`${text} does not fit a number`);
    return value;
  },
};
