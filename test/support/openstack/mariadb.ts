import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../../../activities/command';
import { waitFor } from '../../../worker/stack/wait';
import { startService } from './service';

export const mariadbPackages = ['mariadb-server', 'mariadb-client', 'python3-pymysql'];
const START_TIMEOUT_MS = 60_000;

export interface MariaDb {
  /** @returns where a database is, as SQLAlchemy reads it. */
  urlOf(this: void, database: string): string;
  stop(this: void): Promise<void>;
}

/** A MariaDB in a directory that only we may enter: it listens on a socket in there, and nowhere else. @param databases are made. */
export async function startMariaDb(directory: string, databases: readonly string[]): Promise<MariaDb> {
  await mkdir(directory, { mode: 0o700 });
  const data = join(directory, 'data');
  const socket = join(directory, 'socket');
  // As root: a process that changes its user is no longer ended with its parent.
  const server = ['--no-defaults', '--user=root', `--datadir=${data}`];
  const rights = ['--auth-root-authentication-method=normal', '--skip-test-db'];
  await runCommand('mariadb-install-db', [...server, ...rights], { timeoutMs: START_TIMEOUT_MS });
  const part = await startService({
    name: 'mariadb',
    command: '/usr/sbin/mariadbd',
    args: [...server, '--skip-networking', `--socket=${socket}`, `--pid-file=${join(directory, 'pid')}`],
    directory,
  });
  const statements = databases.map((name) => `CREATE DATABASE ${name} CHARACTER SET utf8mb3;`);
  const create = ['--user=root', `--socket=${socket}`, `--execute=${statements.join(' ')}`];
  try {
    await waitFor(
      async () => await runCommand('mariadb', ['--no-defaults', ...create], { timeoutMs: START_TIMEOUT_MS }),
      {
        what: 'MariaDB to answer',
        deadlineMs: START_TIMEOUT_MS,
        unless: () => part.assertRunning(),
      },
    );
  } catch (error) {
    await part.stop();
    throw error;
  }
  return {
    urlOf: (database) => `mysql+pymysql://root@localhost/${database}?unix_socket=${socket}&charset=utf8`,
    stop: part.stop,
  };
}
