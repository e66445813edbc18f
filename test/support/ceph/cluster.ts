import { randomUUID } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runCommand } from '../../../activities/command';
import { readLogTail } from '../../../worker/stack/part';
import { choosePort } from '../../../worker/ports';
import { waitFor } from '../../../worker/stack/wait';
import { GiB } from '../../../workflows/contract/bytes';
import { Failure } from '../../../workflows/contract/failures';
import { ensurePackages } from '../machine/debian-packages';
import { formatConfiguration, formatKey, type Caps } from './configuration';
import { daemonNames, Daemons, findDaemons, serveDaemons, type DaemonControl } from './daemons';

/** Enough to reach a running cluster from another process. */
interface CephDescription {
  directory: string;
  fsid: string;
  /** `127.0.0.1:PORT` of the only monitor, which speaks messenger v2. */
  monAddress: string;
}

interface CephOptions {
  /** Is made, holds everything that the cluster writes, and is removed by `stop`. */
  directory: string;
  /** Size of the sparse file that is the only disk; default 32 GiB. */
  osdBytes?: number;
  /** Bytes that the pool `volumes` may hold; default: any number. */
  poolQuota?: number;
}

/** As in a cloud: Cinder's pool and Glance's. */
const pools = { volumes: 'volumes', images: 'images' } as const;

const daemonPackages = ['ceph-mon', 'ceph-mgr', 'ceph-osd'];
const clientPackages = [
  'ceph-common',
  'librados2',
  'librbd1',
  'python3-rados',
  'python3-rbd',
  'qemu-utils',
  'qemu-block-extra',
];

const administrator: Caps = { mon: 'allow *', mgr: 'allow *', osd: 'allow *' };
/** The least that each service needs. */
const users: Record<string, Caps> = {
  cinder: capsForVolumes(pools.volumes),
  glance: { mon: 'profile rbd', osd: `profile rbd pool=${pools.images}`, mgr: `profile rbd pool=${pools.images}` },
};

/** The rights of a user that keeps volumes in `pool` and clones from images of the pool `images`. */
export function capsForVolumes(pool: string): Caps {
  return {
    mon: 'profile rbd',
    osd: `profile rbd pool=${pool}, profile rbd-read-only pool=${pools.images}`,
    mgr: `profile rbd pool=${pool}`,
  };
}

const COMMAND_TIMEOUT_MS = 120_000;
const STATE_TIMEOUT_MS = 60_000;
const CONNECT_TIMEOUT_S = '10';
const PLACEMENT_GROUPS = '32';
/** Of a pool that one test file has for itself. */
const FEW_PLACEMENT_GROUPS = '8';

/**
 * A real Ceph of one monitor, one manager and one OSD on 127.0.0.1, in user space, with cephx and without redundancy. The pools are `volumes` and
 * `images`, the users `admin`, `cinder` and `glance`; `ceph.conf` finds the keyring of each by its name.
 */
export class CephCluster {
  readonly pools = pools;
  readonly fsid: string;
  readonly monAddress: string;
  readonly confPath: string;
  readonly adminKeyring: string;

  private constructor(
    private readonly description: CephDescription,
    private readonly daemons: DaemonControl,
  ) {
    this.fsid = description.fsid;
    this.monAddress = description.monAddress;
    this.confPath = join(description.directory, 'ceph.conf');
    this.adminKeyring = this.keyringOf('admin');
  }

  /** Installs what is missing (as root), and starts a new cluster whose daemons live no longer than this process. Undo: `stop`. */
  static async start({ directory, osdBytes = 32 * GiB, poolQuota }: CephOptions): Promise<CephCluster> {
    await ensurePackages([...daemonPackages, ...clientPackages]);
    await mkdir(directory, { mode: 0o700 });
    const [mon, other] = await Promise.all([choosePort(0), choosePort(0)]);
    const description = { directory, fsid: randomUUID(), monAddress: `127.0.0.1:${mon}` };
    const logs = join(directory, 'log');
    const daemons = new Daemons(join(directory, 'ceph.conf'), logs);
    const cluster = new CephCluster(description, daemons);
    try {
      const osdUuid = await cluster.makeStores({ firstPort: other, osdBytes });
      await cluster.startDaemons(daemons, osdUuid);
      await cluster.makePools(poolQuota);
      await cluster.waitForSpace();
      await serveDaemons(daemons, cluster.controlSocket);
      return cluster;
    } catch (cause) {
      const tails = await Promise.all(
        daemonNames.map((name) => readLogTail(join(logs, `${name}.out`)).catch(() => '')),
      );
      await cluster.stop();
      throw new Error(`Ceph did not start: ${String(cause)}\n${tails.join('\n')}`, { cause });
    }
  }

  /** The cluster of this test run, which `ceph-setup` has started. */
  static ofThisRun(): CephCluster {
    const description = JSON.parse(process.env['IVC_TEST_CEPH'] ?? 'null') as CephDescription | null;
    if (description === null) throw new Error('this test run has no Ceph: its suite needs ceph-setup');
    return new CephCluster(description, findDaemons(join(description.directory, 'control')));
  }

  /** Lets tests of this run find the cluster by `ofThisRun`. */
  announce(): void {
    process.env['IVC_TEST_CEPH'] = JSON.stringify(this.description);
  }

  /** Ends the daemons and removes the directory. */
  async stop(): Promise<void> {
    for (const name of daemonNames) await this.daemons.stop(name, 'SIGKILL');
    await rm(this.description.directory, { recursive: true, force: true });
  }

  /** Ends the OSD and has the monitor know it, as other OSDs would see to. @param signal SIGKILL is a crash. */
  async stopOsd(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.daemons.stop('osd.0', signal);
    await this.ceph(['osd', 'down', '0']);
  }

  /** Returns when the OSD is up. */
  async startOsd(): Promise<void> {
    await this.daemons.start('osd.0');
    await this.waitForOsd();
  }

  async stopMon(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    await this.daemons.stop('mon.a', signal);
  }

  /** Returns when the monitor answers. */
  async startMon(): Promise<void> {
    await this.daemons.start('mon.a');
    await this.waitForMon();
  }

  async restartMon(): Promise<void> {
    await this.stopMon();
    await this.startMon();
  }

  /** @param bytes 0: no limit. The cluster acts on it some seconds after it was reached, or raised. */
  async setQuota(pool: string, bytes: number): Promise<void> {
    await this.ceph(['osd', 'pool', 'set-quota', pool, 'max_bytes', String(bytes)]);
  }

  /** @returns whether writes are held back or refused because the pool's quota is reached. */
  async isFull(pool: string): Promise<boolean> {
    const list = JSON.parse(await this.ceph(['osd', 'pool', 'ls', 'detail', '-f', 'json'])) as PoolDetail[];
    return list.some((found) => found.pool_name === pool && found.flags_names.split(',').includes('full_quota'));
  }

  /** Shuts a client out. @param address as `rbd status` shows it: `127.0.0.1:0/3710147553`. */
  async blocklist(address: string): Promise<void> {
    await this.ceph(['osd', 'blocklist', 'add', address]);
  }

  /** @returns the epoch of the OSD map: its growth counts the map's changes. */
  async epoch(): Promise<number> {
    return (await this.osdStat()).epoch;
  }

  /** Makes a cephx user `client.NAME`. @returns the path of its keyring, which `ceph.conf` finds too. */
  async createUser(name: string, caps: Caps): Promise<string> {
    const keyring = this.keyringOf(name);
    await this.ceph(['auth', 'get-or-create', `client.${name}`, ...Object.entries(caps).flat(), '-o', keyring]);
    return keyring;
  }

  /** An RBD namespace of the pool `volumes`, for the objects of one test file: `client.cinder` may use it. @returns its name. */
  async createNamespace(): Promise<string> {
    const name = `test-${randomUUID()}`;
    await this.rbd(['namespace', 'create', `${pools.volumes}/${name}`]);
    return name;
  }

  /** A pool for one test file that sets quotas or lists everything, and a user with Cinder's rights in it. @returns both names; they are the same. */
  async createPool(): Promise<{ pool: string; user: string; keyring: string }> {
    const pool = `test-${randomUUID()}`;
    await this.ceph(['osd', 'pool', 'create', pool, FEW_PLACEMENT_GROUPS, FEW_PLACEMENT_GROUPS]);
    await this.rbd(['pool', 'init', pool]);
    return { pool, user: pool, keyring: await this.createUser(pool, capsForVolumes(pool)) };
  }

  /** @returns what `ceph` printed. @throws Error with what it said on stderr. */
  async ceph(args: readonly string[]): Promise<string> {
    return await this.run('ceph', ['--conf', this.confPath, '--connect-timeout', CONNECT_TIMEOUT_S, ...args]);
  }

  /** @returns what `rbd` printed. @throws Error with what it said on stderr. */
  async rbd(args: readonly string[], { user = 'admin' } = {}): Promise<string> {
    return await this.run('rbd', ['--conf', this.confPath, '--id', user, ...args]);
  }

  /** @returns what `rados` printed, as the administrator. @throws Error with what it said on stderr. */
  async rados(args: readonly string[]): Promise<string> {
    return await this.run('rados', ['--conf', this.confPath, '--id', 'admin', ...args]);
  }

  keyringOf(user: string): string {
    return join(this.description.directory, 'keyrings', `client.${user}`);
  }

  private get controlSocket(): string {
    return join(this.description.directory, 'control');
  }

  /** Writes configuration and keys, and makes the data of the monitor and of the OSD. @returns the OSD's uuid. */
  private async makeStores({ firstPort, osdBytes }: { firstPort: number; osdBytes: number }): Promise<string> {
    const { directory } = this.description;
    const below = (...path: string[]): string => join(directory, ...path);
    for (const name of ['log', 'crash', 'keyrings', 'mon', 'mgr', 'osd']) await mkdir(below(name), { mode: 0o700 });
    await writeFile(this.confPath, formatConfiguration({ ...this.description, firstPort, osdBytes }));
    // The monitor takes all keys when it is made: none has to be asked for later.
    await writeFile(below('keyrings', 'all'), await this.makeKeyrings(), { mode: 0o600 });
    const monmap = below('monmap');
    const address = `[v2:${this.monAddress}]`;
    await this.run('monmaptool', ['--create', '--fsid', this.fsid, '--addv', 'a', address, monmap]);
    const conf = ['--conf', this.confPath];
    const osdUuid = randomUUID();
    await Promise.all([
      this.run('ceph-mon', [...conf, '--id', 'a', '--mkfs', '--monmap', monmap, '--keyring', below('keyrings', 'all')]),
      this.run('ceph-osd', [...conf, '--id', '0', '--mkfs', '--no-mon-config', '--osd-uuid', osdUuid]),
    ]);
    return osdUuid;
  }

  private async makeKeyrings(): Promise<string> {
    const entities: Record<string, Caps> = {
      'mon.': { mon: 'allow *' },
      'mgr.x': { ...administrator, mon: 'allow profile mgr' },
      'osd.0': { mon: 'allow profile osd', mgr: 'allow profile osd', osd: 'allow *' },
      'client.admin': administrator,
      ...Object.fromEntries(Object.entries(users).map(([name, caps]) => [`client.${name}`, caps])),
    };
    const stanzas = Object.entries(entities).map(async ([entity, caps]) => {
      const stanza = formatKey(entity, (await this.run('ceph-authtool', ['--gen-print-key'])).trim(), caps);
      await writeFile(join(this.description.directory, 'keyrings', entity), stanza, { mode: 0o600 });
      return stanza;
    });
    return (await Promise.all(stanzas)).join('');
  }

  private async startDaemons(daemons: Daemons, osdUuid: string): Promise<void> {
    await daemons.start('mon.a');
    await this.waitForMon(() => daemons.assertRunning(['mon.a']));
    await daemons.start('mgr.x');
    await this.ceph(['osd', 'new', osdUuid, '0']);
    await daemons.start('osd.0');
    await this.waitForOsd(() => daemons.assertRunning(daemonNames));
  }

  private async makePools(poolQuota = 0): Promise<void> {
    const create = (pool: string): Promise<string> =>
      this.ceph(['osd', 'pool', 'create', pool, PLACEMENT_GROUPS, PLACEMENT_GROUPS]);
    const names = Object.values(pools);
    // Clones whose parents need no protection. All at once: the monitor changes its map once a second.
    await Promise.all([this.ceph(['osd', 'set-require-min-compat-client', 'mimic']), ...names.map(create)]);
    await Promise.all(names.map((pool) => this.rbd(['pool', 'init', pool])));
    if (poolQuota > 0) await this.setQuota(pools.volumes, poolQuota);
  }

  private async waitForMon(unless?: () => void): Promise<void> {
    const what = 'the monitor to answer';
    await waitFor(() => this.osdStat(), { what, deadlineMs: STATE_TIMEOUT_MS, unless });
  }

  private async waitForOsd(unless?: () => void): Promise<void> {
    const isUp = async (): Promise<true | undefined> => (await this.osdStat()).num_up_osds === 1 || undefined;
    await waitFor(isUp, { what: 'the OSD to be up', deadlineMs: STATE_TIMEOUT_MS, unless });
  }

  /** The manager counts: until its first report the cluster has no byte. */
  private async waitForSpace(): Promise<void> {
    const hasSpace = async (): Promise<true | undefined> => {
      const { pgmap } = JSON.parse(await this.ceph(['status', '-f', 'json'])) as { pgmap: { bytes_avail?: number } };
      return (pgmap.bytes_avail ?? 0) > 0 || undefined;
    };
    await waitFor(hasSpace, { what: 'the manager to count space', deadlineMs: STATE_TIMEOUT_MS });
  }

  private async osdStat(): Promise<{ epoch: number; num_up_osds: number }> {
    return JSON.parse(await this.ceph(['osd', 'stat', '-f', 'json'])) as { epoch: number; num_up_osds: number };
  }

  private async run(tool: string, args: readonly string[]): Promise<string> {
    try {
      return (await runCommand(tool, args, { timeoutMs: COMMAND_TIMEOUT_MS })).stdout;
    } catch (cause) {
      const detail = cause instanceof Failure ? cause.details['stderr'] : undefined;
      throw new Error(`${tool} ${args.join(' ')}: ${String(cause)}\n${String(detail)}`, { cause });
    }
  }
}

interface PoolDetail {
  pool_name: string;
  flags_names: string;
}
