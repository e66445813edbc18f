import { chmodSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findTool } from '../../../activities/command';
import { parseDatabaseUrl } from '../../../db/url';
import { chooseDatabaseUser, giveTo } from '../../../worker/stack/database-user';
import { startPart } from '../../../worker/stack/part';
import { choosePort, isListening } from '../../../worker/ports';
import { waitFor } from '../../../worker/stack/wait';
import { ensureTools } from '../machine/debian-packages';

export interface PgBouncer {
  url: string;
  stop(): Promise<void>;
}

/** A PgBouncer of the test's own in transaction mode, before the server of `databaseUrl`. As root, Debian's package is installed where it is missing. */
export async function startPgBouncer(databaseUrl: string): Promise<PgBouncer> {
  await ensureTools({ pgbouncer: 'pgbouncer' });
  const { host, user = '', password = '', database = '' } = parseDatabaseUrl(databaseUrl);
  const directory = await mkdtemp(join(tmpdir(), 'ivc-pgbouncer-'));
  const owner = chooseDatabaseUser();
  chmodSync(directory, 0o700);
  giveTo(owner, directory);
  const port = await choosePort(0);
  const write = (name: string, lines: string[]): string => {
    const path = join(directory, name);
    writeFileSync(path, `${lines.join('\n')}\n`, { mode: 0o600 });
    giveTo(owner, path);
    return path;
  };
  const users = write('users', [`"${user}" "${password}"`]);
  const configuration = write('pgbouncer.ini', [
    '[databases]',
    `* = host=${host}`,
    '[pgbouncer]',
    'listen_addr = 127.0.0.1',
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = scram-sha-256',
    `auth_file = ${users}`,
    'pool_mode = transaction',
    'default_pool_size = 3',
  ]);
  const part = await startPart({
    name: 'pgbouncer',
    command: findTool('pgbouncer') ?? 'pgbouncer',
    args: [configuration],
    env: { PATH: process.env['PATH'] },
    cwd: '/',
    user: owner,
    logPath: join(directory, 'pgbouncer.log'),
  });
  await waitFor(async () => (await isListening(port)) || undefined, {
    what: 'PgBouncer to listen',
    deadlineMs: 30_000,
    unless: () => part.assertRunning(),
  });
  return {
    url: `postgres://${user}:${password}@127.0.0.1:${port}/${database}`,
    stop: async () => {
      await part.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
