import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { copyFile, cp, mkdir, mkdtemp, open, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CephCluster } from '../ceph/cluster';
import { ensurePackages } from '../machine/debian-packages';
import { onceARun } from '../machine/once-a-run';
import { installPythonTools } from '../machine/python-tools';
import { formatServiceAccount, type ServiceAccount } from '../openstack/service-account';

export interface RealGlance {
  endpoint: string;
  /** Has Glance copy an image's bytes from its store to its other one (import method `copy-image`). @returns the names of the stores that hold them. */
  copyToOtherStore(imageId: string): Promise<string[]>;
  /** How often the bytes of an image were asked for. */
  countDownloads(imageId: string): Promise<number>;
  /** How often bytes were sent for an image. */
  countUploads(imageId: string): Promise<number>;
  /** Says in its database that an image is elsewhere: of what a store's own software has written, which is not here. */
  relocate(imageId: string, url: string): Promise<void>;
  /** A request of an administrator who has a project, as a task and the cinder store want. @param path such as `/v2/images`. */
  operate(path: string, init?: RequestInit): Promise<Response>;
  /** Ends its processes and removes its directory. */
  stop(): Promise<void>;
}

interface RealGlanceOptions {
  /** Uploads go into the pool `images` of this cluster, and every image's record shows its locations. Default: uploads are files. */
  ceph?: CephCluster;
  /** Of cephx, without `client.`. Default: one that may use the pool `images` alone. */
  cephUser?: string;
  /** Uploads go into volumes of a block-storage API, by Glance's own cinder store. Needs root. */
  cinder?: CinderStore;
  /** The Keystone whose tokens it wants; a revoked one is refused at once, unless `cachesTokens`. Default: it wants none. */
  keystone?: KeystoneAccount;
  /** A file of rules over its own. */
  policy?: string;
  /** In place of Debian's: a release that has the location API of 2.17, from PyPI (installed once for this user). Each caller is a service, whom headers name. */
  ofPyPI?: boolean;
}

/** Where Glance's cinder store keeps images: volumes of one user of cephx. */
export interface CinderStore {
  /** Of the block-storage API, without a project. */
  url: string;
  user: string;
  /** The file with that user's key. */
  keyring: string;
}

/** Glance's own, to ask whose a token is. */
export interface KeystoneAccount extends ServiceAccount {
  /** Whether it believes a token for minutes, as it does by default in a cloud: a validation is most of what a request costs. */
  cachesTokens?: boolean;
}

/** Where uploads go, and where copies do. */
const [STORE, OTHER_STORE] = ['files', 'copies'];
const CEPH_STORE = 'ceph';
const CINDER_STORE = 'cinder';
const DATABASE = 'glance.sqlite';
/** Modules that Debian's python3 imports. */
const DEBIAN_MODULES = '/usr/lib/python3/dist-packages';
const requirements = join(__dirname, '../../../tools/glance/requirements.txt');
export const glancePackages = ['glance-api', 'glance-common', 'python3-glance'];
/** Packages that it needs besides, to ask for tokens. */
export const tokenPackages = ['python3-keystonemiddleware'];
/** Packages that its cinder store needs, to read and write volumes of Ceph. */
const cinderPackages = ['python3-cinderclient', 'python3-os-brick', 'python3-oslo.rootwrap', 'python3-rbd', 'sudo'];
const START_TIMEOUT_MS = 60_000;
const COPY_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;
const POLL_MS = 100;
const LOG_TAIL_CHARACTERS = 2000;

/** Debian's python3 must come first: its packages are for no other. */
const environment = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' };

/**
 * A real OpenStack Glance from Debian's packages (installed when missing and we are root): two file stores, SQLite, on a free port of 127.0.0.1.
 * Without Keystone every caller is an administrator. It ends with this process, however that ends.
 */
export async function startRealGlance({
  ceph,
  cephUser,
  cinder,
  keystone,
  policy,
  ofPyPI = false,
}: RealGlanceOptions = {}): Promise<RealGlance> {
  const release = ofPyPI ? await installRelease() : debianRelease;
  await ensurePackages([
    ...glancePackages,
    ...(keystone === undefined ? [] : tokenPackages),
    ...(cinder === undefined ? [] : cinderPackages),
  ]);
  const directory = await mkdtemp(join(tmpdir(), 'glance-'));
  const apis: ChildProcess[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(apis.map(end));
    await rm(directory, { recursive: true, force: true });
  };
  const start = async (identity: Identity): Promise<string> => {
    const port = await findFreePort();
    const config = await writeConfig(directory, { port, identity, ceph, cephUser, cinder, keystone, release });
    if (policy !== undefined) await copyFile(policy, join(directory, 'policy.d', 'policy.yaml'));
    if (apis.length === 0) await cp(await makeTablesOnce(release, directory), directory, { recursive: true });
    const endpoint = `http://127.0.0.1:${port}`;
    const log = join(directory, `glance-api-${identity}.log`);
    const cephDirectory = cinder && join(directory, 'etc-ceph');
    const api = await startApi({ command: release.command({ directory, config, port }), log, cephDirectory });
    apis.push(api);
    await waitUntilReady(endpoint, { api, log });
    return endpoint;
  };
  const everyday = ofPyPI ? 'headers' : keystone === undefined ? 'nobody' : 'tokens';
  const countRequests = async (begin: string): Promise<number> =>
    (await readFile(join(directory, `glance-api-${everyday}.log`), 'utf8')).split(begin).length - 1;
  let operators: Promise<string> | undefined;
  const startOperators = async (): Promise<string> => await (operators ??= start('headers'));
  try {
    return {
      endpoint: await start(everyday),
      countDownloads: (imageId) => countRequests(`"GET /v2/images/${imageId}/file `),
      relocate: async (imageId, url) => {
        const statement = 'update image_locations set value = ? where image_id = ?';
        const script = `import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('${statement}', sys.argv[2:]); c.commit()`;
        await run('/usr/bin/python3', ['-c', script, join(directory, 'glance.sqlite'), url, imageId]);
      },
      countUploads: (imageId) => countRequests(`"PUT /v2/images/${imageId}/file `),
      copyToOtherStore: async (imageId) => await copyToOtherStore(await startOperators(), imageId),
      operate: async (path, init = {}) => {
        const headers = { ...operatorHeaders, ...(init.headers as Record<string, string> | undefined) };
        return await fetch(`${await startOperators()}${path}`, { ...init, headers });
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Tables, which take longest and are the same for every Glance of a release. */
async function makeTablesOnce({ name, manage }: Release, alone: string): Promise<string> {
  const make = async (directory: string): Promise<void> => {
    const config = join(directory, 'glance-tables.conf');
    await writeFile(config, `[database]\nconnection = sqlite:///${join(directory, DATABASE)}\n`);
    const [command = '', ...args] = manage;
    await run(command, [...args, '--config-file', config, 'db_sync']);
    await rm(config);
  };
  return await onceARun(`glance-tables-${name}`, { make, alone });
}

/** How a release of Glance is run. */
interface Release {
  name: string;
  paste: string;
  manage: string[];
  command: (of: { directory: string; config: string; port: number }) => string[];
}

const debianRelease: Release = {
  name: 'debian',
  paste: '/etc/glance/glance-api-paste.ini',
  manage: ['/usr/bin/glance-manage'],
  command: ({ config }) => ['/usr/bin/glance-api', '--config-file', config],
};

/** It is an application of WSGI and nothing else. Of Debian's packages, which do not go with it, it is shown those of Ceph. */
async function installRelease(): Promise<Release> {
  const packages = await installPythonTools('glance', requirements);
  const ceph = await onceARun('python-ceph', {
    make: linkCephModules,
    alone: await mkdtemp(join(tmpdir(), 'python-')),
  });
  const python = ['/usr/bin/env', `PYTHONPATH=${packages}:${ceph}`, '/usr/bin/python3', '-S', '-W', 'ignore'];
  return {
    name: 'pypi',
    paste: join(packages, 'etc/glance/glance-api-paste.ini'),
    manage: [...python, join(packages, 'bin/glance-manage')],
    command: ({ directory, config, port }) => {
      const script = join(directory, 'service.py');
      writeFileSync(script, formatService(config));
      const gunicorn = ['-m', 'gunicorn', '--bind', `127.0.0.1:${port}`, '--threads', '4', '--access-logfile', '-'];
      return [...python, ...gunicorn, '--chdir', directory, 'service:application'];
    },
  };
}

async function linkCephModules(directory: string): Promise<void> {
  const modules = (await readdir(DEBIAN_MODULES)).filter((name) => /^(?:rbd|rados)\./.test(name));
  for (const name of modules) await symlink(join(DEBIAN_MODULES, name), join(directory, name));
}

/** In place of Keystone's middleware, which sets these headers: a caller that names nobody is a service. */
function formatService(config: string): string {
  const named = Object.entries(operatorHeaders).filter(([name]) => name.startsWith('x-'));
  const headers = { ...Object.fromEntries(named), 'x-roles': 'admin,service' };
  const variables = Object.entries(headers).map(([name, value]) => [
    `HTTP_${name.toUpperCase().replaceAll('-', '_')}`,
    value,
  ]);
  return `import json, sys
sys.argv = ['glance-api']
from oslo_config import cfg
from glance.common import wsgi_app
wsgi_app._get_config_files = lambda env=None: [${JSON.stringify(config)}]
glance = wsgi_app.init_app()
named = json.loads('${JSON.stringify(Object.fromEntries(variables))}')
def application(environ, start_response):
    return glance({**named, **environ}, start_response)
`;
}

/** A caller's identity: nobody and an administrator, the one in the headers that Keystone's middleware would have set, or the owner of its token. */
type Identity = 'nobody' | 'headers' | 'tokens';
const operatorHeaders = {
  'content-type': 'application/json',
  'x-identity-status': 'Confirmed',
  'x-user-id': 'operator',
  'x-project-id': 'operators',
  'x-roles': 'admin',
  'x-service-catalog': '[]',
};

async function copyToOtherStore(endpoint: string, imageId: string): Promise<string[]> {
  const url = `${endpoint}/v2/images/${imageId}`;
  const answer = await fetch(`${url}/import`, {
    method: 'POST',
    headers: operatorHeaders,
    body: JSON.stringify({ method: { name: 'copy-image' }, stores: [OTHER_STORE] }),
  });
  if (answer.status !== 202) throw new Error(`copy-image was answered ${answer.status}: ${await answer.text()}`);
  const deadline = Date.now() + COPY_TIMEOUT_MS;
  while (Date.now() < deadline) {
    const record = (await (await fetch(url, { headers: operatorHeaders })).json()) as Record<string, string>;
    const stores = (record['stores'] ?? '').split(',');
    if (stores.includes(OTHER_STORE) && record['os_glance_importing_to_stores'] === '') return stores;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new Error(`image ${imageId} was not copied to store ${OTHER_STORE} within ${COPY_TIMEOUT_MS} ms`);
}

const pipelines: Record<Identity, string> = {
  nobody: 'unauthenticated-context rootapp',
  headers: 'context rootapp',
  tokens: 'authtoken context rootapp',
};

async function writeConfig(
  directory: string,
  {
    port,
    identity,
    ceph,
    cephUser,
    cinder,
    keystone,
    release,
  }: RealGlanceOptions & { port: number; identity: Identity; release: Release },
): Promise<string> {
  const below = (name: string): string => join(directory, name);
  for (const name of [STORE, OTHER_STORE, 'staging', 'tasks', 'lock', 'policy.d'])
    await mkdir(below(name), { mode: 0o700, recursive: true });
  const paste = await readFile(release.paste, 'utf8');
  const pastePath = below(`paste-${identity}.ini`);
  await writeFile(pastePath, paste.replace(`${pipelines.nobody}\n`, `${pipelines[identity]}\n`));
  if (cinder !== undefined) await prepareForCinder(directory, cinder);
  const shows = release === debianRelease && (ceph !== undefined || cinder !== undefined);
  const path = below(`glance-api-${identity}.conf`);
  const config = `[DEFAULT]
bind_host = 127.0.0.1
bind_port = ${port}
workers = 0
enabled_backends = ${STORE}:file,${OTHER_STORE}:file${ceph === undefined ? '' : `,${CEPH_STORE}:rbd`}${cinder === undefined ? '' : `,${CINDER_STORE}:cinder`}
show_image_direct_url = ${shows}
show_multiple_locations = ${shows}
use_stderr = true
worker_self_reference_url = http://127.0.0.1:${port}
[database]
connection = sqlite:///${below(DATABASE)}
[glance_store]
default_backend = ${cinder === undefined ? (ceph === undefined ? STORE : CEPH_STORE) : CINDER_STORE}
[${STORE}]
filesystem_store_datadir = ${below(STORE)}
[${OTHER_STORE}]
filesystem_store_datadir = ${below(OTHER_STORE)}
${ceph === undefined ? '' : formatCephStore(ceph, cephUser)}${cinder === undefined ? '' : formatCinderStore(directory, cinder)}[os_glance_staging_store]
filesystem_store_datadir = ${below('staging')}
[os_glance_tasks_store]
filesystem_store_datadir = ${below('tasks')}
[paste_deploy]
config_file = ${pastePath}
[oslo_concurrency]
lock_path = ${below('lock')}
[oslo_policy]
policy_dirs = ${below('policy.d')}
${keystone === undefined ? '' : formatAuthToken(keystone)}`;
  await writeFile(path, config, { mode: 0o600 });
  return path;
}

function formatAuthToken({ cachesTokens = false, ...account }: KeystoneAccount): string {
  return `[keystone_authtoken]
${formatServiceAccount(account)}token_cache_time = ${cachesTokens ? 300 : -1}
service_token_roles_required = true
`;
}

function formatCephStore({ confPath, pools }: CephCluster, user = 'glance'): string {
  return `[${CEPH_STORE}]
rbd_store_ceph_conf = ${confPath}
rbd_store_user = ${user}
rbd_store_pool = ${pools.images}
`;
}

function formatCinderStore(directory: string, { url }: CinderStore): string {
  return `[${CINDER_STORE}]
cinder_endpoint_template = ${url}/v3/%(project_id)s
cinder_state_transition_timeout = 120
cinder_mount_point_base = ${join(directory, 'mounts')}
rootwrap_config = ${join(directory, 'rootwrap.conf')}
`;
}

/** The files that Glance's cinder store and os-brick below it read, beside its section. */
async function prepareForCinder(directory: string, { user, keyring }: CinderStore): Promise<void> {
  const [ceph, filters] = [join(directory, 'etc-ceph'), join(directory, 'rootwrap.d')];
  for (const path of [ceph, filters, join(directory, 'mounts')]) await mkdir(path, { mode: 0o700, recursive: true });
  await copyFile(keyring, join(ceph, `ceph.client.${user}.keyring`));
  const paths = [filters, '/etc/glance/rootwrap.d', '/usr/share/os-brick/rootwrap'];
  const wrap = `[DEFAULT]\nfilters_path=${paths.join(',')}\nexec_dirs=/sbin,/usr/sbin,/bin,/usr/bin\n`;
  await writeFile(join(directory, 'rootwrap.conf'), wrap);
  await writeFile(join(filters, 'glance.filters'), '[Filters]\nprivsep: CommandFilter, privsep-helper, root\n');
}

/** @param cephDirectory what its processes alone see as `/etc/ceph`, where os-brick looks for keys. */
async function startApi({
  command: own,
  log,
  cephDirectory,
}: {
  command: string[];
  log: string;
  cephDirectory?: string;
}): Promise<ChildProcess> {
  const output = await open(log, 'a', 0o600);
  try {
    // The kernel kills it when this process dies, so that a killed test run leaves nothing.
    const lifeline = ['--pdeathsig', 'KILL'];
    const mount = 'mount --bind "$0" /etc/ceph && exec "$@"';
    const apart =
      cephDirectory === undefined ? [] : ['/usr/bin/unshare', '--mount', '/bin/sh', '-c', mount, cephDirectory];
    const command = [...lifeline, ...apart, ...own];
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
    const answer = await fetch(`${endpoint}/v2/images?limit=1`, { headers: operatorHeaders }).catch(() => undefined);
    await answer?.arrayBuffer();
    // 401: its Keystone's middleware answers before it.
    if (answer?.ok || answer?.status === 401) return;
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
