import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { runCommand } from '../../../activities/command';
import { choosePort } from '../../../worker/ports';
import { readLogTail, type Part } from '../../../worker/stack/part';
import { waitFor } from '../../../worker/stack/wait';
import { ensurePackages } from '../machine/debian-packages';
import { undoneOnFailure } from '../machine/undos';
import { newSecret } from './cloud';
import type { RealKeystone } from './keystone';
import { mariadbPackages, startMariaDb } from './mariadb';
import { rabbitMqPackages, startRabbitMq } from './rabbitmq';
import { readServiceLog, startService } from './service';
import { formatServiceAccount } from './service-account';
import { startStandInNeutron } from './stand-in-neutron';

/** A package `nova-compute` would bring libvirt and QEMU, which the driver here does without: its program is all in `python3-nova`. */
const packages = ['nova-api', 'nova-conductor', 'nova-scheduler', 'python3-placement', 'gunicorn'];
export const novaPackages = [...packages, ...mariadbPackages, ...rabbitMqPackages];

export interface RealNova {
  /** Of its version 2.1, as the catalogue has it. */
  url: string;
  /** @returns all that its services have written. */
  readLogs(this: void): string;
  stop(this: void): Promise<void>;
}

interface NovaOptions {
  /** Is made, and holds everything that Nova, its placement and their servers write. */
  directory: string;
  keystone: RealKeystone;
  /** Its catalogue has `image` and `volumev3` there; `compute` and `placement` are added. */
  region: string;
}

/** The policy for Nova that this product comes with. */
const POLICY = resolve(__dirname, '../../../docs/nova/policy.yaml');
const DATABASES = ['nova_api', 'nova', 'nova_cell0', 'placement'];
const HOST = 'host-1';
const MANAGE_TIMEOUT_MS = 300_000;
const START_TIMEOUT_MS = 120_000;
const COMPUTE = 'from nova.cmd.compute import main; main()';

/**
 * A real OpenStack Nova with its placement, from Debian's packages (installed when missing and we are root): API, conductor, scheduler and one compute
 * service with Nova's own fake driver, whose servers run nowhere; all else is as in a cloud. It acts towards the block-storage API for its users, with
 * a token of its own beside theirs. Its processes end with this one.
 */
export async function startRealNova(options: NovaOptions): Promise<RealNova> {
  await ensurePackages(novaPackages);
  const { directory, keystone, region } = options;
  await mkdir(directory, { mode: 0o700 });
  const parts: Part[] = [];
  return await undoneOnFailure(async ({ after, run }) => {
    const start = async (name: string, [command = '', ...args]: readonly string[], env = {}): Promise<Part> => {
      const part = await startService({ name, command, args, env, directory });
      parts.push(part);
      after(() => part.stop());
      return part;
    };
    try {
      const [database, messages, network] = await Promise.all([
        startMariaDb(join(directory, 'mariadb'), DATABASES),
        startRabbitMq(join(directory, 'rabbitmq')),
        startStandInNeutron(),
      ]);
      for (const { stop } of [database, messages, network]) after(stop);
      const account = { user: 'nova', password: newSecret(), project: 'service' };
      await keystone.operator.ensureAccount({ ...account, roles: ['admin', 'service'] });
      const [port, placementPort] = [await choosePort(0), await choosePort(0)];
      const url = `http://127.0.0.1:${port}/v2.1`;
      await keystone.operator.addEndpoints({ type: 'compute', region, url });
      const placementUrl = `http://127.0.0.1:${placementPort}`;
      await keystone.operator.addEndpoints({ type: 'placement', region, url: placementUrl });
      const authentication = formatServiceAccount({ url: keystone.url, ...account });

      const placementConfig = `[placement_database]
connection = ${database.urlOf('placement')}
[keystone_authtoken]
${authentication}`;
      await writeFile(join(directory, 'placement.conf'), placementConfig, { mode: 0o600 });
      const config = await writeConfig(directory, {
        port,
        region,
        authentication,
        databaseUrl: database.urlOf,
        messagesUrl: messages.url,
        networkUrl: network.url,
      });
      const manage = async (...args: string[]): Promise<void> => {
        await runCommand('nova-manage', ['--config-file', config, ...args], { timeoutMs: MANAGE_TIMEOUT_MS });
      };
      const makeTables = async (): Promise<void> => {
        await manage('api_db', 'sync');
        await manage('cell_v2', 'map_cell0', '--database_connection', database.urlOf('nova_cell0'));
        await manage('db', 'sync');
        await manage('cell_v2', 'create_cell', '--name', 'cell1');
      };
      const makePlacement = async (): Promise<void> => {
        const program = ['--config-file', join(directory, 'placement.conf'), 'db', 'sync'];
        await runCommand('placement-manage', program, { timeoutMs: MANAGE_TIMEOUT_MS });
      };
      await Promise.all([makeTables(), makePlacement()]);

      const ofConfig = ['--config-file', config];
      const where = ['--bind', `127.0.0.1:${placementPort}`, '--workers', '1', '--threads', '4'];
      const application = ['--chdir', directory, 'placement.wsgi:init_application()'];
      await start('placement', ['/usr/bin/gunicorn', ...where, ...application], { OS_PLACEMENT_CONFIG_DIR: directory });
      await start('nova-conductor', ['/usr/bin/nova-conductor', ...ofConfig]);
      await start('nova-scheduler', ['/usr/bin/nova-scheduler', ...ofConfig]);
      await start('nova-api', ['/usr/bin/nova-api', ...ofConfig]);
      const compute = await start('nova-compute', ['/usr/bin/python3', '-c', COMPUTE, ...ofConfig]);
      const unless = (): void => parts.forEach((part) => part.assertRunning());
      const deadlineMs = START_TIMEOUT_MS;
      await waitFor(() => readServiceLog(compute).includes('Created resource provider record') || undefined, {
        what: "Nova's compute service to tell placement what it has",
        deadlineMs,
        unless,
      });
      await manage('cell_v2', 'discover_hosts');
      await waitFor(async () => (await fetch(url.replace(/v2.1$/, ''))).ok || undefined, {
        what: "Nova's API to answer",
        deadlineMs,
        unless,
      });
      return { url, readLogs: () => parts.map(readServiceLog).join('\n'), stop: run };
    } catch (cause) {
      const tails = await Promise.all(parts.map(async ({ logPath }) => await readLogTail(logPath).catch(() => '')));
      throw new Error(`Nova did not start: ${String(cause)}\n${tails.join('\n')}`, { cause });
    }
  });
}

interface Addresses {
  port: number;
  region: string;
  authentication: string;
  databaseUrl: (database: string) => string;
  messagesUrl: string;
  networkUrl: string;
}

async function writeConfig(
  directory: string,
  { port, region, authentication, databaseUrl, messagesUrl, networkUrl }: Addresses,
): Promise<string> {
  const below = (name: string): string => join(directory, name);
  for (const name of ['locks', 'policy.d']) await mkdir(below(name), { mode: 0o700 });
  await copyFile(POLICY, join(below('policy.d'), 'policy.yaml'));
  const path = below('nova.conf');
  const config = `[DEFAULT]
host = ${HOST}
my_ip = 127.0.0.1
use_stderr = true
state_path = ${directory}
enabled_apis = osapi_compute
osapi_compute_listen = 127.0.0.1
osapi_compute_listen_port = ${port}
osapi_compute_workers = 1
metadata_workers = 1
transport_url = ${messagesUrl}
compute_driver = fake.FakeDriver
block_device_allocate_retries_interval = 1
heal_instance_info_cache_interval = -1
[api_database]
connection = ${databaseUrl('nova_api')}
[database]
connection = ${databaseUrl('nova')}
[conductor]
workers = 1
[scheduler]
workers = 1
[keystone_authtoken]
${authentication}service_token_roles_required = true
service_token_roles = service
[service_user]
${authentication}send_service_user_token = true
[cinder]
${authentication}catalog_info = volumev3::publicURL
os_region_name = ${region}
[glance]
region_name = ${region}
valid_interfaces = public
[placement]
${authentication}region_name = ${region}
[neutron]
${authentication}endpoint_override = ${networkUrl}
[oslo_concurrency]
lock_path = ${below('locks')}
[oslo_policy]
policy_dirs = ${below('policy.d')}
`;
  await writeFile(path, config, { mode: 0o600 });
  return path;
}
