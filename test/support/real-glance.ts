import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface RealGlance {
  endpoint: string;
  /** Ends the process and removes its directory. */
  stop(): Promise<void>;
}

const packages = ['glance-api', 'glance-common', 'python3-glance'];
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;
const POLL_MS = 100;
const LOG_TAIL_CHARACTERS = 2000;

/** Debian's python3 must come first: its packages are for no other. */
const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive' };

/**
 * A real OpenStack Glance from Debian's packages (installed when missing and we are root): file store, SQLite, on a free port of 127.0.0.1,
 * without Keystone, so every caller is an administrator. It ends with this process, however that ends.
 */
export async function startRealGlance(): Promise<RealGlance> {
  await ensurePackages();
  const directory = await mkdtemp(join(tmpdir(), 'glance-'));
  let api: ChildProcess | undefined;
  const stop = async (): Promise<void> => {
    if (api !== undefined) await end(api);
    await rm(directory, { recursive: true, force: true });
  };
  try {
    const port = await findFreePort();
    const config = await writeConfig(directory, port);
    await run('/usr/bin/glance-manage', ['--config-file', config, 'db_sync']);
    const endpoint = `http://127.0.0.1:${port}`;
    const log = join(directory, 'glance-api.log');
    api = await startApi(config, log);
    await waitUntilReady(endpoint, { api, log });
    return { endpoint, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function writeConfig(directory: string, port: number): Promise<string> {
  const below = (name: string): string => join(directory, name);
  for (const name of ['images', 'staging', 'tasks', 'lock', 'policy.d']) await mkdir(below(name), { mode: 0o700 });
  await copyFile('/etc/glance/glance-api-paste.ini', below('paste.ini'));
  const path = below('glance-api.conf');
  const config = `[DEFAULT]
bind_host = 127.0.0.1
bind_port = ${port}
workers = 0
enabled_backends = files:file
use_stderr = true
[database]
connection = sqlite:///${below('glance.sqlite')}
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = ${below('images')}
[os_glance_staging_store]
filesystem_store_datadir = ${below('staging')}
[os_glance_tasks_store]
filesystem_store_datadir = ${below('tasks')}
[paste_deploy]
config_file = ${below('paste.ini')}
[oslo_concurrency]
lock_path = ${below('lock')}
[oslo_policy]
policy_dirs = ${below('policy.d')}
`;
  await writeFile(path, config, { mode: 0o600 });
  return path;
}

async function startApi(config: string, log: string): Promise<ChildProcess> {
  const output = await open(log, 'a', 0o600);
  try {
    // The kernel kills it when this process dies, so that a killed test run leaves nothing.
    const command = ['--pdeathsig', 'KILL', '/usr/bin/glance-api', '--config-file', config];
    const api = spawn('/usr/bin/setpriv', command, { env: environment, stdio: ['ignore', output.fd, output.fd] });
    await once(api, 'spawn');
    return api;
  } finally {
    await output.close();
  }
}

async function waitUntilReady(endpoint: string, { api, log }: { api: ChildProcess; log: string }): Promise<void> {
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (Date.now() < deadline && api.exitCode === null && api.signalCode === null) {
    const answer = await fetch(`${endpoint}/v2/images?limit=1`).catch(() => undefined);
    await answer?.arrayBuffer();
    if (answer?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error(
    `glance-api did not start in ${START_TIMEOUT_MS} ms:\n${(await readFile(log, 'utf8')).slice(-LOG_TAIL_CHARACTERS)}`,
  );
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

const POLICY_PATH = '/usr/sbin/policy-rc.d';

/** Installs what is missing without starting any service of the system. @throws Error which names the command to type. */
async function ensurePackages(): Promise<void> {
  const missing = [];
  for (const name of packages) if (!(await isInstalled(name))) missing.push(name);
  if (missing.length === 0) return;
  const install = [
    'install',
    '--yes',
    '--no-install-recommends',
    '-o',
    'DPkg::Lock::Timeout=300',
    '-o',
    'Dpkg::Options::=--force-confold',
    ...missing,
  ];
  if (process.getuid?.() !== 0)
    throw new Error(`a real Glance is missing; as root: apt-get install --no-install-recommends ${missing.join(' ')}`);
  const hasPolicy = existsSync(POLICY_PATH);
  if (!hasPolicy) await writeFile(POLICY_PATH, '#!/bin/sh\nexit 101\n', { mode: 0o755, flag: 'wx' });
  try {
    await run('/usr/bin/apt-get', install).catch(async () => {
      await run('/usr/bin/apt-get', ['update']);
      await run('/usr/bin/apt-get', install);
    });
  } finally {
    if (!hasPolicy) await rm(POLICY_PATH, { force: true });
  }
}

async function isInstalled(name: string): Promise<boolean> {
  const status = await run('/usr/bin/dpkg-query', ['--show', '--showformat=${db:Status-Status}', name]).catch(() => '');
  return status.trim() === 'installed';
}

/** @returns standard output. @throws Error with the end of what was printed. */
async function run(command: string, args: string[]): Promise<string> {
  const child = spawn(command, args, { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  const [code] = await once(child, 'close');
  if (code === 0) return output;
  throw new Error(
    `${command} ${args.join(' ')} failed (${String(code)}):\n${(output + errors).slice(-LOG_TAIL_CHARACTERS)}`,
  );
}
