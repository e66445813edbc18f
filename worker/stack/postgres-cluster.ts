import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { giveTo, type DatabaseUser } from './database-user';
import { writeFileAtomically } from '../../lib/files';

/** Where one PostgreSQL server lives and who may use it. */
export interface Cluster {
  /** Directory of `postgres` and `initdb`. */
  bin: string;
  data: string;
  socketDirectory: string;
  user: DatabaseUser | undefined;
  username: string;
  password: string;
}

const INITDB_DEADLINE_MS = 120_000;

export interface EnsureClusterOptions {
  /** Whether the new files are flushed to the disk. */
  durable?: boolean;
  signal?: AbortSignal;
}

/**
 * Makes the data directory when there is none; one that was interrupted is made again. The password reaches initdb in a
 * file that does not stay.
 */
export async function ensureCluster(cluster: Cluster, { durable = true, signal }: EnsureClusterOptions): Promise<void> {
  const { data, user, password } = cluster;
  if (existsSync(join(data, 'PG_VERSION'))) return;
  const making = `${data}.making`;
  const passwordFile = `${data}.password`;
  rmSync(making, { recursive: true, force: true });
  mkdirSync(making, { mode: 0o700 });
  giveTo(user, making);
  writeFileAtomically(passwordFile, password);
  giveTo(user, passwordFile);
  try {
    await runInitdb(cluster, { args: initdbArguments(cluster, { making, passwordFile, durable }), signal });
    renameSync(making, data);
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

function initdbArguments(
  { username }: Cluster,
  options: { making: string; passwordFile: string; durable: boolean },
): string[] {
  const { making, passwordFile, durable } = options;
  const content = ['--encoding=UTF8', '--locale=C', `--username=${username}`, `--pwfile=${passwordFile}`];
  const access = ['--auth-local=scram-sha-256', '--auth-host=reject'];
  return ['-D', making, ...content, ...access, ...(durable ? [] : ['--no-sync'])];
}

async function runInitdb(
  { bin, user }: Cluster,
  { args, signal }: { args: string[]; signal?: AbortSignal },
): Promise<void> {
  const env = { LC_ALL: 'C', PATH: process.env['PATH'] };
  try {
    await promisify(execFile)(join(bin, 'initdb'), args, {
      ...user,
      signal,
      timeout: INITDB_DEADLINE_MS,
      cwd: '/',
      env,
    });
  } catch (error) {
    signal?.throwIfAborted();
    const stderr = typeof error === 'object' && error !== null && 'stderr' in error ? String(error.stderr).trim() : '';
    throw new Error(`PostgreSQL could not be set up: ${stderr || String(error)}`, { cause: error });
  }
}
