import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createVolumes } from '../../client/volumes';
import { MiB } from '../../workflows/contract/bytes';
import type { BackendName } from '../../workflows/contract/ids';
import type { CreateVolumeResult, CreateVolumesResult } from '../../workflows/contract/volume';
import { CephCluster } from '../support/ceph/cluster';
import { isSameGuest, type QemuDisk } from '../support/images/qemu';
import { flowsOf } from '../support/stack/flows';
import { startHerd, strikeHerd } from '../support/stack/herd';
import { startStack, type Stack } from '../support/stack/stack';

jest.setTimeout(240_000);

const HERD = 16;
const HITS = 100;
const MANY = 200;
const IN_FLIGHT = 8;
/** A cold image takes a few seconds, so that the kill falls into its population. */
const cold = { diskFormat: 'qcow2', bytesPerSecond: 8 * MiB, virtualBytes: 32 * MiB, dataBytes: 24 * MiB } as const;
const KILLED_AFTER_MS = 1500;

describe('a worker whose backend is a pool of Ceph RBD', () => {
  const ceph = CephCluster.ofThisRun();
  const backend = 'ceph' as BackendName;
  let namespace = '';
  let directory = '';
  let running: Stack;
  const flow = flowsOf({ stack: () => running, directory: () => directory });

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ivc-rbd-herd-'));
    namespace = await ceph.createNamespace();
    const pool = { driver: 'rbd', pool: 'volumes', namespace, conf: ceph.confPath, user: 'cinder' };
    running = await startStack({ backend, workers: [], config: { backends: { [backend]: pool } } });
  });
  afterAll(async () => {
    await running.stop();
    await rm(directory, { recursive: true, force: true });
  });
  const diskOf = ({ connection }: Pick<CreateVolumeResult, 'connection'>): QemuDisk => {
    const image = connection.driver === 'rbd' ? connection.image : '';
    return { filename: `rbd:volumes/${namespace}/${image}:id=cinder:conf=${ceph.confPath}`, format: 'raw' };
  };
  const images = async (): Promise<string[]> =>
    (await ceph.rbd(['ls', `volumes/${namespace}`])).split('\n').filter((line) => line !== '');

  it('gives a herd its volumes though it is killed in the middle, by one population, and leaves nothing else', async () => {
    const killed = await running.spawnWorker();
    await killed.ready;
    const herd = await startHerd(flow, [{ creates: HERD, ...cold }]);
    const struck = await strikeHerd(herd, [KILLED_AFTER_MS], async () => {
      await killed.stop('SIGKILL');
      await running.startWorker();
    });
    expect(struck).toBe(1);
    const [member] = herd.members;
    const made = await Promise.all((member?.creates ?? []).map(async ({ result }) => await result()));
    expect(new Set(made.map(({ volumeId }) => volumeId)).size).toBe(HERD);
    const [imageVolume, ...others] = (await images()).filter((image) => image.startsWith('image-'));
    expect([imageVolume, others]).toEqual([expect.not.stringContaining('partial'), []]);
    const volumes = made.map(({ volumeId }) => `volume-${volumeId}`);
    expect(new Set(await images())).toEqual(new Set([imageVolume, ...volumes]));
    const source: QemuDisk = { filename: member?.upload.sample.rawPath ?? '', format: 'raw' };
    for (const volume of made) expect(await isSameGuest(diskOf(volume), source)).toBe(true);
  });

  it(`makes ${MANY} volumes of one request though it is killed among their clones, each of them once`, async () => {
    await running.workers.at(-1)?.stop();
    const killed = await running.spawnWorker();
    await killed.ready;
    const { image, sample } = await flow.upload('many', { diskFormat: 'qcow2' });
    await flow.create(image);
    const before = (await images()).length;
    const { workflowId } = await createVolumes(
      running.cache,
      { imageId: image.id, backend, count: MANY },
      { wait: false },
    );
    await flow.until('some to be cloned', async () => (await images()).length > before + MANY / 4);
    await killed.stop('SIGKILL');
    expect((await images()).length).toBeLessThan(before + MANY);
    await running.startWorker();
    const { volumes, failed } = (await running.client.workflow.getHandle(workflowId).result()) as CreateVolumesResult;
    expect([volumes.length, failed]).toEqual([MANY, []]);
    const made = new Set(volumes.map(({ volumeId }) => `volume-${volumeId}`));
    expect(made.size).toBe(MANY);
    expect((await images()).filter((name) => made.has(name))).toHaveLength(MANY);
    expect((await images()).length).toBe(before + MANY);
    const entries = await flow.entriesOf(image);
    expect(entries).toMatchObject([{ clones: MANY + 1 }]);
    const source: QemuDisk = { filename: sample.rawPath, format: 'raw' };
    for (const volume of volumes.filter((_, n) => n % 50 === 0))
      expect(await isSameGuest(diskOf(volume), source)).toBe(true);
  });

  it(`changes no map of the cluster's by ${HITS} hits, but for one or two`, async () => {
    const { image, sample } = await flow.upload('hit', { diskFormat: 'qcow2' });
    await flow.create(image);
    const before = await ceph.epoch();
    let left = HITS;
    const made: CreateVolumeResult[] = [];
    const hit = async (): Promise<void> => {
      for (; left > 0;) {
        left -= 1;
        made.push(await flow.create(image));
      }
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, hit));
    expect((await ceph.epoch()) - before).toBeLessThanOrEqual(2);
    expect(made).toHaveLength(HITS);
    const [last] = made.slice(-1);
    expect(last && (await isSameGuest(diskOf(last), { filename: sample.rawPath, format: 'raw' }))).toBe(true);
  });
});
