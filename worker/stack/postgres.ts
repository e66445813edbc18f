import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connectDatabase } from '../../db/client';
import type { DriverSql } from '../../db/statement';
import { assertReachable, chooseDatabaseUser, ensureExecutableFor, type DatabaseUser } from './database-user';
import { startPart, type Part, assertGoingOn } from './part';
import { findPostgresBinaries } from './postgres-binaries';
import { ensureCluster, type Cluster } from './postgres-cluster';
import { endPostgresLeftovers } from './postgres-leftovers';
import { ensureSocketDirectory, removeSocketDirectory } from './socket-directory';
import { waitFor } from './wait';
import { writeFileAtomically } from '../../lib/files';

export interface PostgresOptions {
  /** Holds the data, the secret and, where its path is short enough, the socket. Made when it is absent. */
  directory: string;
  logPath: string;
  pidPath?: string;
  /** Made when it is absent; default `postgres`. */
  database?: string;
  /** False only for tests: nothing is flushed to the disk. A kill still loses nothing, a power cut may. */
  durable?: boolean;
  signal?: AbortSignal;
}

export interface PostgresServer {
  /** libpq URL over the unix socket, with the password, as `db/url.ts` reads it. */
  url: string;
  /** The server, for people: `PostgreSQL 15 in /usr/lib/postgresql/15/bin`. */
  description: string;
  socketDirectory: string;
  part: Part;
  stop: () => Promise<void>;
}

const USERNAME = 'ivc';
const READY_DEADLINE_MS = 120_000;

/** Starts PostgreSQL on a unix socket in a 0700 directory, with a password, without TCP; a directory that a killed server left is recovered.
 *  Returns when it answers. As root it runs as nobody. Undo: `stop`; the data stays. */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const { directory, database = 'postgres', logPath } = options;
  const user = chooseDatabaseUser();
  prepareDirectory(directory, user);
  const data = join(directory, 'data');
  await endPostgresLeftovers(data);
  const binaries = await findPostgresBinaries({ majorVersion: findMajorVersion(data) });
  const bin = ensureExecutableFor(user, binaries.directory, join(directory, `server-${binaries.majorVersion}`));
  const socketDirectory = ensureSocketDirectory(directory, user);
  const cluster: Cluster = {
    bin,
    data,
    socketDirectory,
    user,
    username: USERNAME,
    password: ensurePassword(join(directory, 'password')),
  };
  await ensureCluster(cluster, options);
  const started = await startPart({
    name: 'postgres',
    ...serverCommand(cluster, options),
    logPath,
    pidPath: options.pidPath,
    stopSignals: STOP_SIGNALS,
  });
  const part = { ...started, stop: () => started.stop().then(() => removeSocketDirectory(directory)) };
  try {
    await waitUntilServing(cluster, { part, signal: options.signal });
    await ensureDatabase(cluster, database);
  } catch (error) {
    await part.stop();
    throw error;
  }
  return {
    url: databaseUrl(cluster, database),
    description: `PostgreSQL ${binaries.majorVersion} in ${binaries.directory}`,
    socketDirectory,
    part,
    stop: () => part.stop(),
  };
}

/** Fast shutdown, then immediate shutdown (recovered at the next start). */
const STOP_SIGNALS = ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const;

/**
 * The directory stays the supervisor's own, so that the database's user can replace nothing in it; that user only
 * passes through.
 */
function prepareDirectory(directory: string, user: DatabaseUser | undefined): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  chmodSync(directory, user ? 0o711 : 0o700);
  assertReachable(directory, user);
}

function findMajorVersion(data: string): number | undefined {
  const path = join(data, 'PG_VERSION');
  return existsSync(path) ? Number.parseInt(readFileSync(path, 'utf8'), 10) : undefined;
}

/** The secret is made once and stays beside the data (0600). */
function ensurePassword(path: string): string {
  if (!existsSync(path)) writeFileAtomically(path, randomBytes(24).toString('base64url'));
  return readFileSync(path, 'utf8').trim();
}

function serverCommand({ bin, data, socketDirectory, user }: Cluster, { durable = true }: PostgresOptions) {
  const settings = {
    listen_addresses: '',
    unix_socket_directories: `"${socketDirectory}"`,
    unix_socket_permissions: '0700',
    port: '5432',
    shared_buffers: '64MB',
    max_connections: '200',
    log_checkpoints: 'off',
    log_timezone: 'UTC',
    ...(durable ? {} : { fsync: 'off', full_page_writes: 'off' }),
  };
  const args = ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
  return {
    command: join(bin, 'postgres'),
    args,
    cwd: data,
    user,
    env: { LC_ALL: 'C', TZ: 'UTC', PATH: process.env['PATH'] },
  };
}

function databaseUrl({ socketDirectory, username, password }: Cluster, database: string): string {
  return `postgres://${username}:${password}@${encodeURIComponent(socketDirectory)}/${encodeURIComponent(database)}`;
}

async function waitUntilServing(
  cluster: Cluster,
  { part, signal }: { part: Part; signal?: AbortSignal },
): Promise<void> {
  await waitFor(() => query(cluster, async (sql) => (await sql`SELECT 1 AS one`).length === 1 || undefined), {
    what: 'PostgreSQL to answer on its socket',
    deadlineMs: READY_DEADLINE_MS,
    unless: () => assertGoingOn(part, signal),
  });
}

async function ensureDatabase(cluster: Cluster, database: string): Promise<void> {
  await query(cluster, async (sql) => {
    const found = await sql`SELECT 1 FROM pg_database WHERE datname = ${database}`;
    if (found.length === 0) await sql`CREATE DATABASE ${sql(database)}`;
  });
}

async function query<T>(cluster: Cluster, work: (sql: DriverSql) => Promise<T>): Promise<T> {
  const database = connectDatabase(databaseUrl(cluster, 'postgres'), { maxConnections: 1 });
  try {
    return await work(database.sql);
  } finally {
    await database.close();
  }
}
