import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { giveTo, type DatabaseUser } from './database-user';
import { writeSecret } from './secret-file';

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

/** Makes the data directory when there is none; one that was interrupted is made again. The password reaches initdb in a file that does not stay. */
export async function ensureCluster(
  { bin, data, user, username, password }: Cluster,
  signal?: AbortSignal,
): Promise<void> {
  if (existsSync(join(data, 'PG_VERSION'))) return;
  const making = `${data}.making`;
  const passwordFile = `${data}.password`;
  rmSync(making, { recursive: true, force: true });
  mkdirSync(making, { mode: 0o700 });
  giveTo(user, making);
  writeSecret(passwordFile, password);
  giveTo(user, passwordFile);
  try {
    const args = ['-D', making, '-U', username, `--pwfile=${passwordFile}`, '--encoding=UTF8', '--locale=C'];
    const access = ['--auth-local=scram-sha-256', '--auth-host=reject'];
    await promisify(execFile)(join(bin, 'initdb'), [...args, ...access], {
      ...user,
      signal,
      timeout: INITDB_DEADLINE_MS,
      cwd: '/',
      env: { LC_ALL: 'C', PATH: process.env['PATH'] },
    });
    renameSync(making, data);
  } finally {
    rmSync(passwordFile, { force: true });
  }
}
