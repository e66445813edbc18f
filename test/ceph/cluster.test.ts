import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { waitFor } from '../../worker/stack/wait';
import { MiB } from '../../workflows/contract/bytes';
import { CephCluster } from '../support/ceph/cluster';

jest.setTimeout(120_000);
const STATE_DEADLINE_MS = 60_000;
const support = resolve(__dirname, '../support');

describe('the cluster of this test run', () => {
  const cluster = CephCluster.ofThisRun();
  const { volumes, images } = cluster.pools;
  const asCinder = { user: 'cinder' };
  let namespace = '';
  beforeAll(async () => {
    namespace = `${volumes}/${await cluster.createNamespace()}`;
  });

  it('lets the user of the volumes create, list and remove', async () => {
    await cluster.rbd(['create', `${namespace}/made`, '--size', '64M'], asCinder);
    expect(await cluster.rbd(['ls', namespace], asCinder)).toBe('made\n');
    await cluster.rbd(['rm', '--no-progress', `${namespace}/made`], asCinder);
    expect(await cluster.rbd(['ls', namespace], asCinder)).toBe('');
  });

  it('lets it clone an image, which it may neither change nor remove', async () => {
    const asGlance = { user: 'glance' };
    const image = `${images}/${namespace.slice(-36)}`;
    await cluster.rbd(['create', image, '--size', '64M'], asGlance);
    await cluster.rbd(['snap', 'create', '--no-progress', `${image}@snap`], asGlance);
    await cluster.rbd(['clone', `${image}@snap`, `${namespace}/clone`], asCinder);
    expect(await cluster.rbd(['children', `${image}@snap`], asCinder)).toBe(`${namespace}/clone\n`);
    const refused = /not permitted/;
    await expect(cluster.rbd(['resize', image, '--size', '128M'], asCinder)).rejects.toThrow(refused);
    await expect(cluster.rbd(['rm', image], asCinder)).rejects.toThrow(refused);
    await expect(cluster.rbd(['create', `${images}/other`, '--size', '1M'], asCinder)).rejects.toThrow(refused);
  });

  it('refuses it every pool but the two', async () => {
    const { pool, user } = await cluster.createPool();
    await cluster.rbd(['create', `${pool}/own`, '--size', '64M'], { user });
    await expect(cluster.rbd(['ls', pool], asCinder)).rejects.toThrow(/not permitted/);
    await expect(cluster.rbd(['ls', volumes], { user })).rejects.toThrow(/not permitted/);
  });

  it('goes on after its monitor was restarted', async () => {
    const before = await cluster.epoch();
    await cluster.restartMon();
    expect(await cluster.epoch()).toBeGreaterThanOrEqual(before);
    expect(await cluster.rbd(['ls', namespace], asCinder)).toContain('clone');
  });

  it('shuts out a client that is on the blocklist', async () => {
    const image = `${namespace}/written`;
    await cluster.rbd(['create', image, '--size', '64M'], asCinder);
    const write = ['--io-type', 'write', '--io-size', '4K', '--io-total', '1T'];
    const writer = spawn('rbd', ['--conf', cluster.confPath, '--id', 'cinder', 'bench', image, ...write], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const exited = once(writer, 'exit');
    try {
      const address = await waitFor(
        async () => {
          const status = await cluster.rbd(['status', image, '--format', 'json']);
          return (JSON.parse(status) as { watchers: { address: string }[] }).watchers[0]?.address;
        },
        { what: 'the writer to watch its image', deadlineMs: STATE_DEADLINE_MS },
      );
      await cluster.blocklist(address);
      // The tool says so, and leaves from one of librbd's threads: it may wait for its others for ever.
      await Promise.race([exited, firstOutput(writer.stderr, /endpoint shutdown/)]);
    } finally {
      writer.kill('SIGKILL');
    }
    expect(await exited).not.toEqual([0, null]);
    await cluster.rbd(['rm', '--no-progress', image], asCinder);
  });
});

describe('a cluster of a test', () => {
  let parent = '';
  beforeEach(async () => {
    parent = await mkdtemp(join(tmpdir(), 'ivc-ceph-'));
  });
  afterEach(async () => await rm(parent, { recursive: true, force: true }));

  it('leaves no process and no file when it is stopped', async () => {
    const directory = join(parent, 'ceph');
    const cluster = await CephCluster.start({ directory, poolQuota: 64 * MiB });
    expect(cluster.fsid).not.toBe(CephCluster.ofThisRun().fsid);
    expect(processesThatName(directory)).toHaveLength(3);
    await cluster.stop();
    expect(processesThatName(directory)).toEqual([]);
    expect(existsSync(directory)).toBe(false);
    expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(parent);
  });

  it('dies with the process that started it', async () => {
    const directory = join(parent, 'ceph');
    const script = ['--require', join(support, 'register-typescript.cjs'), join(support, 'ceph/start-until-killed.ts')];
    const starter = spawn(process.execPath, [...script, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
    await firstOutput(starter.stdout);
    expect(processesThatName(directory).length).toBeGreaterThanOrEqual(4);
    starter.kill('SIGKILL');
    await waitFor(() => processesThatName(directory).length === 0 || undefined, {
      what: 'the daemons to end',
      deadlineMs: 10_000,
    });
  });
});

/** Returns once what a program prints matches, or ends. */
async function firstOutput(stream: Readable, pattern = /./): Promise<void> {
  let output = '';
  for await (const chunk of stream) {
    output += String(chunk);
    if (pattern.test(output)) return;
  }
}

/** @returns the command lines that hold `text`. */
function processesThatName(text: string): string[] {
  const commandLines = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        return '';
      }
    });
  return commandLines.filter((line) => line.includes(text));
}
