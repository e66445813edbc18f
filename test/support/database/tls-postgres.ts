import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from '../../../worker/stack/postgres';
import { chooseDatabaseUser, giveTo } from '../../../worker/stack/database-user';
import { readLogTail, startPart } from '../../../worker/stack/part';
import { choosePort } from '../../../worker/ports';
import { findPostgresBinaries } from '../../../worker/stack/postgres-binaries';
import { makeCertificates } from '../machine/certificates';
import { waitFor } from '../../../worker/stack/wait';

/** A PostgreSQL on TCP with a certificate for `localhost` alone, by an authority of the test's own. */
export interface TlsPostgres {
  port: number;
  user: string;
  password: string;
  /** Certificates and keys by name: `ca`, `other-ca`, `client`. */
  path: (name: string) => string;
  stop(): Promise<void>;
}

/** @param access lines of `pg_hba.conf`. @param databases made beside `postgres`. */
export async function startTlsPostgres({
  access,
  databases,
}: {
  access: string[];
  databases: string[];
}): Promise<TlsPostgres> {
  const directory = await mkdtemp(join(tmpdir(), 'ivc-tls-'));
  // As root the database runs as another user, who must be able to pass through.
  chmodSync(directory, 0o711);
  const own = join(directory, 'postgres');
  for (const database of ['postgres', ...databases]) {
    const logPath = join(directory, 'setup.log');
    const server = await startPostgres({ directory: own, logPath, database, durable: false });
    await server.stop();
  }
  const files = makeCertificates(join(directory, 'certificates'));
  const user = chooseDatabaseUser();
  const data = join(own, 'data');
  for (const [name, text] of Object.entries({
    'server.crt': readFileSync(files('server.crt')),
    'server.key': readFileSync(files('server.key')),
    'ca.crt': readFileSync(files('ca.crt')),
    'pg_hba.conf': `${access.join('\n')}\n`,
  })) {
    writeFileSync(join(data, name), text, { mode: 0o600 });
    giveTo(user, join(data, name));
  }
  const port = await choosePort(0);
  const { directory: bin } = await findPostgresBinaries();
  const settings = {
    listen_addresses: '127.0.0.1',
    port: String(port),
    unix_socket_directories: '',
    ssl: 'on',
    ssl_cert_file: 'server.crt',
    ssl_key_file: 'server.key',
    ssl_ca_file: 'ca.crt',
    fsync: 'off',
  };
  const server = await startPart({
    name: 'postgres',
    command: join(bin, 'postgres'),
    args: ['-D', data, ...Object.entries(settings).flatMap(([key, value]) => ['-c', `${key}=${value}`])],
    env: { LC_ALL: 'C', TZ: 'UTC', PATH: process.env['PATH'] },
    cwd: data,
    user,
    logPath: join(directory, 'postgres.log'),
    stopSignals: ['SIGINT', 'SIGQUIT', 'SIGKILL'],
  });
  const isReady = async () => (await readLogTail(server.logPath)).includes('ready to accept connections') || undefined;
  await waitFor(isReady, {
    what: 'PostgreSQL to be ready',
    deadlineMs: 60_000,
    unless: () => server.assertRunning(),
  });
  return {
    port,
    user: 'ivc',
    password: readFileSync(join(own, 'password'), 'utf8').trim(),
    path: files,
    stop: async () => {
      await server.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
