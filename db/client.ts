import type { Socket } from 'node:net';
import type { PgRemoteDatabase } from 'drizzle-orm/pg-proxy';
import postgres from 'postgres';
import { withDatabaseErrors } from './errors';
import { createSockets } from './sockets';
import { createOrm, type DriverSql } from './statement';
import { parseDatabaseUrl } from './url';

export interface PoolOptions {
  maxConnections: number;
  /** Shown in `pg_stat_activity`. */
  applicationName?: string;
  /** Server-side limits that differ from `sessionLimitsMs`. */
  limitsMs?: Partial<Record<keyof typeof sessionLimitsMs, number>>;
  /**
   * A server that lives has ended a statement itself: this long beyond `statement_timeout` its silence means that it is
   * lost. Default: 5 s.
   */
  silenceMarginMs?: number;
  /** Called with the text of every statement that is sent, `begin` and `commit` included. */
  onStatement?(text: string): void;
}

/** A pool of connections to the inventory. */
export interface Database {
  readonly sql: DriverSql;
  readonly orm: PgRemoteDatabase;
  /** Statements sent so far, `begin` and `commit` included. */
  statements(): number;
  /**
   * @throws DatabaseUnavailable (retried), after `PING_TIMEOUT_MS` at the latest, also where every connection is taken.
   */
  ping(): Promise<void>;
  /** Lets running statements end, at most `CLOSE_TIMEOUT_SECONDS`; then no socket is left. */
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_SECONDS = 5;
const IDLE_TIMEOUT_SECONDS = 60;
const CLOSE_TIMEOUT_SECONDS = 5;
const PING_TIMEOUT_MS = 5000;
/** A server that restarts is found again this soon; the driver's own back-off goes up to 20 s. */
const RECONNECT_DELAY_SECONDS = 0.25;

/** Server-side limits of every session: no statement, lock or forgotten transaction holds a row for ever. */
export const sessionLimitsMs = {
  statement_timeout: 30_000,
  lock_timeout: 10_000,
  idle_in_transaction_session_timeout: 30_000,
} as const;
const SILENCE_MARGIN_MS = 5000;

/**
 * Opens connections as they are needed; nothing is connected yet when this returns.
 * @throws InvalidRequest for an URL that cannot be read.
 */
export function connectDatabase(url: string, options: PoolOptions): Database {
  const { host, port, database, user, password, ...address } = parseDatabaseUrl(url);
  const applicationName = options.applicationName ?? address.applicationName ?? 'image-volume-cache';
  const connectSeconds = address.connectTimeoutSeconds ?? CONNECT_TIMEOUT_SECONDS;
  const limits = { ...sessionLimitsMs, ...options.limitsMs };
  const sockets = createSockets({
    host,
    port,
    tls: address.tls,
    login: () => ({ user: sql.options.user, database: sql.options.database }),
    connectMs: 1000 * connectSeconds,
    silenceMs: limits.statement_timeout + (options.silenceMarginMs ?? SILENCE_MARGIN_MS),
  });
  let statements = 0;
  const driverOptions: DriverOptions = {
    host,
    port,
    database,
    user,
    ...(password === undefined ? {} : { password }),
    socket: () => sockets.open(),
    max: options.maxConnections,
    connect_timeout: connectSeconds,
    idle_timeout: IDLE_TIMEOUT_SECONDS,
    backoff: () => RECONNECT_DELAY_SECONDS,
    fetch_types: false,
    onnotice: () => {},
    types: driverTypes,
    // PgBouncer's sessions have no such parameters, and before 1.21 no statements of ours: the role's settings hold
    // there.
    prepare: !address.behindPgBouncer,
    connection: { application_name: applicationName, ...(address.behindPgBouncer ? {} : limits) },
    debug: (_connection, text) => {
      statements += 1;
      options.onStatement?.(text);
    },
  };
  const sql = postgres(driverOptions);
  return {
    sql,
    get orm() {
      return createOrm({ sql });
    },
    statements: () => statements,
    ping: () => withDatabaseErrors(() => answeredInTime(async () => void (await sql`select 1`))),
    close: async () => {
      await sql.end({ timeout: CLOSE_TIMEOUT_SECONDS });
      sockets.destroy();
    },
  };
}

async function answeredInTime(ask: () => Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = Object.assign(new Error(`PostgreSQL does not answer within ${PING_TIMEOUT_MS / 1000} s`), {
      code: 'ETIMEDOUT',
    });
    timer = setTimeout(() => reject(error), PING_TIMEOUT_MS);
  });
  try {
    await Promise.race([ask(), late]);
  } finally {
    clearTimeout(timer);
  }
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

const asText = (text: string): string => text;

/** Times stay text, and JSON is sent as the text that it is: the schema's columns convert both. */
export const driverTypes = {
  bigint: losslessBigint,
  time: { to: 1184, from: [1082, 1083, 1114, 1184], serialize: asText, parse: asText },
  json: { to: 114, from: [114, 3802], serialize: asText, parse: (text: string) => JSON.parse(text) as string },
};

/** The driver's types leave the factory of sockets out. */
type DriverOptions = postgres.Options<typeof driverTypes> & { socket(): Promise<Socket> };
