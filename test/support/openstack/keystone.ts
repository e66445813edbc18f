import { randomBytes } from 'node:crypto';
import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../../../activities/command';
import { readLogTail, type Part } from '../../../worker/stack/part';
import { choosePort } from '../../../worker/ports';
import { waitFor } from '../../../worker/stack/wait';
import { ensurePackages } from '../machine/debian-packages';
import { onceARun } from '../machine/once-a-run';
import { createKeystoneOperator, type KeystoneOperator } from './keystone-operator';
import { startService } from './service';

export const keystonePackages = ['python3-keystone', 'gunicorn'];
const MANAGE_TIMEOUT_MS = 120_000;
const START_TIMEOUT_MS = 60_000;

export interface RealKeystone {
  /** Of its version 3. */
  url: string;
  port: number;
  /** Its administrator. */
  operator: KeystoneOperator;
  /** The password of that user, `admin`. */
  adminPassword: string;
  /** Ends it; `start` goes on with the same data, on the same port. */
  stop(this: void): Promise<void>;
  start(this: void): Promise<void>;
  /** How many tokens it has given since it was made, the operator's included. */
  countTokens(this: void): Promise<number>;
}

interface KeystoneOptions {
  /** Is made, and holds everything that Keystone writes. */
  directory: string;
  /** Life of a token. */
  tokenSeconds: number;
}

/**
 * A real OpenStack Keystone from Debian's packages (installed when missing and we are root), on a free port of 127.0.0.1, with SQLite. Only its
 * administrator and the roles that Keystone makes itself are in there. It ends with this process, however that ends.
 */
export async function startRealKeystone({ directory, tokenSeconds }: KeystoneOptions): Promise<RealKeystone> {
  await ensurePackages(keystonePackages);
  await mkdir(directory, { mode: 0o700 });
  const port = await choosePort(0);
  const url = `http://127.0.0.1:${port}/v3`;
  const password = randomBytes(12).toString('hex');
  await writeConfig(directory, { tokenSeconds });
  await cp(await onceARun('keystone-tables', { make: makeTables, alone: directory }), directory, { recursive: true });
  await bootstrap(directory, { url, password });
  let part: Part | undefined;
  const stop = async (): Promise<void> => {
    await part?.stop();
    part = undefined;
  };
  const start = async (): Promise<void> => {
    part = await startGunicorn(directory, port);
    try {
      await waitUntilAnswers(part, url);
    } catch (error) {
      const tail = await readLogTail(part.logPath);
      await stop();
      throw new Error(`Keystone did not start: ${String(error)}\n${tail}`, { cause: error });
    }
  };
  await start();
  const operator = createKeystoneOperator(url, password);
  const countTokens = async (): Promise<number> => {
    // Its one process logs a request before it takes the next one.
    await (await fetch(url)).arrayBuffer();
    return operator.countTokens(join(directory, 'access.log'));
  };
  return { url, port, operator, adminPassword: password, start, stop, countTokens };
}

/**
 * With SQLite one process, since with two of them a reader makes a commit fail; then a cache in its memory sees every revocation. Without the cache one
 * validation of a token is some 450 statements, half a second.
 */
async function writeConfig(directory: string, { tokenSeconds }: { tokenSeconds: number }): Promise<void> {
  const below = (name: string): string => join(directory, name);
  await mkdir(below('policy.d'), { mode: 0o700 });
  const config = `[DEFAULT]
use_stderr = true
[database]
connection = sqlite:///${below('keystone.sqlite')}
[token]
provider = fernet
expiration = ${tokenSeconds}
[fernet_tokens]
key_repository = ${below('fernet-keys')}
[fernet_receipts]
key_repository = ${below('fernet-keys')}
[credential]
key_repository = ${below('credential-keys')}
[cache]
enabled = true
backend = dogpile.cache.memory
[identity]
password_hash_rounds = 4
[oslo_policy]
policy_dirs = ${below('policy.d')}
`;
  await writeFile(below('keystone.conf'), config, { mode: 0o600 });
  // Keystone would read gunicorn's own arguments as its options.
  const application = `import sys
sys.argv = sys.argv[:1]
from keystone.server.wsgi import initialize_public_application
application = initialize_public_application()
`;
  await writeFile(below('keystone_application.py'), application, { mode: 0o600 });
}

async function manage(directory: string, ...args: string[]): Promise<void> {
  const command = ['--config-file', join(directory, 'keystone.conf'), ...args];
  await runCommand('keystone-manage', command, { timeoutMs: MANAGE_TIMEOUT_MS });
}

/** Tables and keys, which take longest and are the same for every Keystone. */
async function makeTables(directory: string): Promise<void> {
  await writeConfig(directory, { tokenSeconds: 600 });
  await manage(directory, 'db_sync');
  // With the default journal a reader makes a commit fail.
  const pragma = 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("pragma journal_mode=wal")';
  const database = join(directory, 'keystone.sqlite');
  await runCommand('python3', ['-c', pragma, database], { timeoutMs: MANAGE_TIMEOUT_MS });
  const owner = ['--keystone-user', 'root', '--keystone-group', 'root'];
  await manage(directory, 'fernet_setup', ...owner);
  await manage(directory, 'credential_setup', ...owner);
  for (const file of ['keystone.conf', 'keystone_application.py', 'policy.d'])
    await rm(join(directory, file), { recursive: true });
}

async function bootstrap(directory: string, { url, password }: { url: string; password: string }): Promise<void> {
  const urls = ['admin', 'public', 'internal'].flatMap((name) => [`--bootstrap-${name}-url`, url]);
  await manage(directory, 'bootstrap', '--bootstrap-password', password, '--bootstrap-region-id', 'RegionOne', ...urls);
}

async function startGunicorn(directory: string, port: number): Promise<Part> {
  const where = ['--bind', `127.0.0.1:${port}`, '--workers', '1', '--preload', '--chdir', directory];
  return await startService({
    name: 'keystone',
    command: '/usr/bin/gunicorn',
    args: [...where, '--access-logfile', join(directory, 'access.log'), 'keystone_application:application'],
    env: { OS_KEYSTONE_CONFIG_DIR: directory },
    directory,
  });
}

async function waitUntilAnswers(part: Part, url: string): Promise<void> {
  await waitFor(
    async () => {
      const answer = await fetch(url);
      await answer.arrayBuffer();
      return answer.ok || undefined;
    },
    { what: 'Keystone to answer', deadlineMs: START_TIMEOUT_MS, unless: () => part.assertRunning() },
  );
}
