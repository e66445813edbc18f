import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { reconcile } from '../../client/reconcile';
import { waitFor } from '../../worker/stack/wait';
import { MiB } from '../../workflows/contract/bytes';
import type { BackendName } from '../../workflows/contract/ids';
import { CephCluster } from '../support/ceph/cluster';
import { isSameGuest } from '../support/images/qemu';
import { createRandom } from '../support/seeded';
import { flowsOf } from '../support/stack/flows';
import { startHerd, strikeHerd, type HerdImage } from '../support/stack/herd';
import { startStack, type Stack } from '../support/stack/stack';

jest.setTimeout(400_000);

const KILLS = 4;
/** From a moment at which nothing is made yet, to one at which a dead worker's steps are done by the other. */
const GAP_MS = { min: 200, max: 8000 };
/** Images that a killed client held are free after so long, in place of Ceph's half a minute. */
const WATCH_TIMEOUT_S = 8;
const PATIENCE_MS = 60_000;
const cold = { bytesPerSecond: 8 * MiB, virtualBytes: 32 * MiB, dataBytes: 24 * MiB };
const images: HerdImage[] = [
  { diskFormat: 'qcow2', creates: 6, warm: true },
  { diskFormat: 'qcow2', creates: 6, ...cold },
  { diskFormat: 'raw', creates: 4, ...cold },
];

describe('two workers, each a host and a client of Ceph', () => {
  const ceph = CephCluster.ofThisRun();
  const backend = 'ceph' as BackendName;
  const random = createRandom('two clients of Ceph');
  let namespace = '';
  let directory = '';
  let running: Stack;
  const flow = flowsOf({ stack: () => running, directory: () => directory });

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-two-clients-'));
    await ceph.ceph(['config', 'set', 'osd', 'osd_client_watch_timeout', String(WATCH_TIMEOUT_S)]);
    namespace = await ceph.createNamespace();
    const pool = { driver: 'rbd', pool: 'volumes', namespace, conf: ceph.confPath, user: 'cinder' };
    running = await startStack({
      backend,
      workers: [],
      config: {
        backends: { [backend]: pool },
        schedules: { refresh: 'off', reconcile: 'off', evict: 'off', grace: '1s' },
      },
    });
  });
  afterAll(async () => {
    await running.stop();
    await ceph.ceph(['config', 'rm', 'osd', 'osd_client_watch_timeout']);
    await rm(directory, { recursive: true, force: true });
  });
  const list = async (...args: string[]): Promise<string[]> =>
    (await ceph.rbd([...args, `volumes/${namespace}`])).split('\n').filter((line) => line !== '');

  it(`lose and double nothing in ${KILLS} kills of one or the other, and leave nothing half-made`, async () => {
    const hosts = [join(directory, 'first'), join(directory, 'second')];
    const spawn = async (scratchDirectory: string) => await running.spawnWorker({ scratchDirectory });
    const workers = [await spawn(hosts[0] ?? ''), await spawn(hosts[1] ?? '')];
    await Promise.all(workers.map(({ ready }) => ready));
    const expected: string[] = [];
    for (let kills = 0; kills < KILLS;) {
      const herd = await startHerd(flow, images);
      const gapsMs = Array.from({ length: KILLS - kills }, () => random.mostlyShort(GAP_MS.min, GAP_MS.max));
      kills += await strikeHerd(herd, gapsMs, async () => {
        const host = random.pick(hosts as [string, string]);
        const at = hosts.indexOf(host);
        await workers[at]?.stop('SIGKILL');
        workers[at] = await spawn(host);
      });
      await Promise.all(workers.map(({ ready }) => ready));
      for (const { upload, creates, warm } of herd.members) {
        const made = await Promise.all(creates.map(({ result }) => result()));
        expect(new Set(made.map(({ volumeId }) => volumeId)).size).toBe(creates.length);
        // One image-volume, of one flight, serves all.
        const entries = await flow.entriesOf(upload.image);
        expect(entries).toMatchObject([{ state: 'ready', generation: 1, clones: creates.length + (warm ? 1 : 0) }]);
        expect(made.filter(({ outcome }) => outcome === 'miss').length).toBeLessThanOrEqual(warm ? 0 : 1);
        for (const { connection } of made) {
          const image = connection.driver === 'rbd' ? connection.image : '';
          const disk = { filename: `rbd:volumes/${namespace}/${image}:id=cinder:conf=${ceph.confPath}`, format: 'raw' };
          expect(await isSameGuest(disk as never, { filename: upload.sample.rawPath, format: 'raw' })).toBe(true);
        }
        expected.push(...entries.map(({ imageVolume }) => imageVolume.replace('image-volume-', 'image-')));
      }
    }
    const rows = await running.inventory.volumes();
    expect(rows.map(({ state }) => state)).toEqual(rows.map(() => 'available'));
    expected.push(...rows.map(({ id }) => `volume-${id}`));
    // Images that a dead client held are removed by the next run that finds them free.
    const isClean = async (): Promise<true | undefined> => {
      await reconcile(running.cache, { backend }, { wait: true });
      const partials = (await list('ls')).filter((name) => !expected.includes(name));
      return (partials.length === 0 && (await list('trash', 'ls', '--all')).length === 0) || undefined;
    };
    await waitFor(isClean, { what: 'everything half-made to be gone', deadlineMs: PATIENCE_MS, intervalMs: 1000 });
    expect((await list('ls')).sort()).toEqual([...expected].sort());
  });
});
