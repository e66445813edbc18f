import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../../../activities/command';
import { readLogTail, type Part } from '../../../worker/stack/part';
import { choosePort } from '../../../worker/ports';
import { waitFor } from '../../../worker/stack/wait';
import type { CephCluster } from '../ceph/cluster';
import { ensurePackages } from '../machine/debian-packages';
import { createVolumeClient, type VolumeClient } from './volume-client';
import { mariadbPackages, startMariaDb } from './mariadb';
import { rabbitMqPackages, startRabbitMq } from './rabbitmq';
import { readServiceLog, startService } from './service';

interface CinderOptions {
  /** Is made, and holds everything that Cinder and its servers write. */
  directory: string;
  ceph: CephCluster;
  glanceEndpoint: string;
  /** An empty database of PostgreSQL, as SQLAlchemy reads it. Default: a MariaDB of its own. */
  databaseUrl?: string;
}

export interface RealCinder extends VolumeClient {
  /** Of its API. */
  endpoint: string;
  /** As its configuration has it. */
  databaseUrl: string;
  /** Ends its API, scheduler and volume service; its database answers. */
  stopServices(this: void): Promise<void>;
  /** Ends its processes; the directory stays. */
  stop(this: void): Promise<void>;
}

const servicePackages = ['cinder-api', 'cinder-scheduler', 'cinder-volume', 'python3-cinder', 'sudo'];
const postgresPackages = ['python3-psycopg2'];
const cephPackages = ['python3-rbd', 'python3-rados', 'qemu-utils', 'qemu-block-extra'];
const HOST = 'bench';
const BACKEND = 'rbd';
const SYNC_TIMEOUT_MS = 180_000;
const START_TIMEOUT_MS = 120_000;

/**
 * A real OpenStack Cinder from Debian's packages (installed when missing and we are root): API, scheduler and volume service on 127.0.0.1, without
 * Keystone, with RabbitMQ and, unless it is given a database, MariaDB of its own, on the pool `volumes` of a Ceph, its image-volume cache on and without limits. Nothing else differs
 * from its defaults that a create of a volume would notice. Its processes end with this one.
 */
export async function startRealCinder(options: CinderOptions): Promise<RealCinder> {
  const { directory, databaseUrl: given } = options;
  const databasePackages = given === undefined ? mariadbPackages : postgresPackages;
  await ensurePackages([...servicePackages, ...cephPackages, ...databasePackages, ...rabbitMqPackages]);
  await mkdir(directory, { mode: 0o700 });
  const stops: Array<() => Promise<void>> = [];
  const stop = async (): Promise<void> => {
    for (let next = stops.pop(); next !== undefined; next = stops.pop()) await next();
  };
  const logs: string[] = [];
  const start = async (name: string, config: string): Promise<Part> => {
    const part = await startService({ name, command: `/usr/bin/${name}`, args: ['--config-file', config], directory });
    logs.push(part.logPath);
    stops.push(() => part.stop());
    return part;
  };
  try {
    const startDatabase = async (): Promise<string> => {
      const database = await startMariaDb(join(directory, 'mariadb'), ['cinder']);
      stops.push(database.stop);
      return database.urlOf('cinder');
    };
    const databaseUrl = given ?? (await startDatabase());
    const messages = await startRabbitMq(join(directory, 'rabbitmq'));
    stops.push(messages.stop);
    const port = await choosePort(0);
    const config = await writeConfig(options, {
      port,
      databaseUrl,
      messagesUrl: messages.url,
    });
    await runCommand('cinder-manage', ['--config-file', config, 'db', 'sync'], { timeoutMs: SYNC_TIMEOUT_MS });
    const endpoint = `http://127.0.0.1:${port}`;
    const client = createVolumeClient(endpoint);
    const api = await start('cinder-api', config);
    const scheduler = await start('cinder-scheduler', config);
    // The volume service last: it tells its capabilities once when it starts, and then once a minute.
    await waitFor(() => readServiceLog(scheduler).includes('cleanup completed') || undefined, {
      what: "Cinder's scheduler to listen",
      deadlineMs: START_TIMEOUT_MS,
      unless: () => scheduler.assertRunning(),
    });
    const volume = await start('cinder-volume', config);
    await waitFor(
      async () => (await client.listPools()).some((pool) => pool.startsWith(`${HOST}@${BACKEND}#`)) || undefined,
      {
        what: "Cinder's scheduler to know the pool",
        deadlineMs: START_TIMEOUT_MS,
        unless: () => [api, scheduler, volume].forEach((part) => part.assertRunning()),
      },
    );
    const stopServices = async (): Promise<void> => {
      for (const part of [volume, scheduler, api]) await part.stop();
    };
    return { ...client, endpoint, databaseUrl, stopServices, stop };
  } catch (cause) {
    const tails = await Promise.all(logs.map(async (path) => await readLogTail(path).catch(() => '')));
    await stop();
    throw new Error(`Cinder did not start: ${String(cause)}\n${tails.join('\n')}`, { cause });
  }
}

async function writeConfig(
  { directory, ceph, glanceEndpoint }: CinderOptions,
  { port, databaseUrl, messagesUrl }: { port: number; databaseUrl: string; messagesUrl: string },
): Promise<string> {
  const below = (name: string): string => join(directory, name);
  for (const name of ['conversion', 'locks', 'coordination', 'policy.d']) await mkdir(below(name), { mode: 0o700 });
  const path = below('cinder.conf');
  const config = `[DEFAULT]
auth_strategy = noauth
host = ${HOST}
my_ip = 127.0.0.1
use_stderr = true
state_path = ${directory}
rootwrap_config = /etc/cinder/rootwrap.conf
api_paste_config = /etc/cinder/api-paste.ini
osapi_volume_listen = 127.0.0.1
osapi_volume_listen_port = ${port}
osapi_volume_workers = 2
transport_url = ${messagesUrl}
glance_api_servers = ${glanceEndpoint}
image_conversion_dir = ${below('conversion')}
enabled_backends = ${BACKEND}
cinder_internal_tenant_project_id = 0123456789abcdef0123456789abcdef
cinder_internal_tenant_user_id = fedcba9876543210fedcba9876543210
quota_volumes = -1
quota_gigabytes = -1
quota_snapshots = -1
[${BACKEND}]
volume_driver = cinder.volume.drivers.rbd.RBDDriver
volume_backend_name = ${BACKEND}
rbd_pool = ${ceph.pools.volumes}
rbd_user = cinder
rbd_ceph_conf = ${ceph.confPath}
rbd_exclusive_cinder_pool = true
max_over_subscription_ratio = 1000
image_volume_cache_enabled = true
[database]
connection = ${databaseUrl}
max_pool_size = 20
max_overflow = 50
[oslo_concurrency]
lock_path = ${below('locks')}
[coordination]
backend_url = file://${below('coordination')}
[oslo_policy]
policy_dirs = ${below('policy.d')}
`;
  await writeFile(path, config, { mode: 0o600 });
  return path;
}
