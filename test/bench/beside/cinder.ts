import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { createGlanceClient } from '../../../activities/glance/client';
import type { ImageService } from '../../../activities/glance/image-service';
import { createVolume } from '../../../client/volumes';
import { GiB, MiB } from '../../../workflows/contract/bytes';
import { startRealGlance } from '../../support/glance/real-glance';
import { makeSampleImage, uploadSample, type SampleImage } from '../../support/images/sample-image';
import { installedVersions } from '../../support/machine/debian-packages';
import { startRealCinder, type RealCinder } from '../../support/openstack/cinder';
import { createVolumeClient, type VolumeClient } from '../../support/openstack/volume-client';
import { startApi } from '../../support/stack/api';
import type { BenchServers } from '../bench-stack';
import { countParts, started, stopDownTo } from '../parts';
import { startCeph, startOnCeph } from '../places';
import { measureContender, type Contender, type Figures, type Images } from './contender';

export interface BesideReport {
  /** ISO 8601. */
  measuredAt: string;
  versions: Record<string, string>;
  cinder: Figures;
  /** The same with the monitor's map proposed every `TUNED_SECONDS`. */
  tunedCinder: Figures;
  ours: Figures;
  /** Through the block-storage API, as a client of Cinder asks. */
  oursThroughApi: Figures;
}

const COLD_IMAGES = 3;
const COLD_BYTES = 512 * MiB;
const HIT_BYTES = 64 * MiB;
const VOLUME_GIB = 1;
/** How long the monitor gathers changes of its map; Ceph's default is a second. */
const TUNED_SECONDS = '0.05';
const ALONE_POLL_MS = 0;
/** With others in flight, so that asking takes little from what is measured. */
const TOGETHER_POLL_MS = 250;

/** Cinder, Cinder with a tuned monitor, then the product: one after the other on the same Ceph, the same Glance and images of the same bytes. */
export async function measureBesideCinder(servers: BenchServers): Promise<BesideReport> {
  const ceph = await startCeph(servers);
  const glance = started(await startRealGlance());
  const images = createGlanceClient({ endpoint: glance.endpoint });
  started({ stop: () => images.close() });
  const samples = await makeSamples(servers.directory, 'beside');
  const measure = async (contender: Contender, of = samples): Promise<Figures> => {
    process.stderr.write(`measuring ${contender.name}\n`);
    const figures = await measureContender(contender, await uploadAll(images, of), () => ceph.epoch());
    process.stderr.write(`${contender.name}: ${JSON.stringify(figures)}\n`);
    return figures;
  };
  const beforeCinder = countParts();
  const directory = join(servers.directory, 'cinder');
  const cinder = started(await startRealCinder({ directory, ceph, glanceEndpoint: glance.endpoint }));
  const ofCinder = await measure(cinderAs('Cinder', cinder));
  await ceph.ceph(['config', 'set', 'mon', 'paxos_propose_interval', TUNED_SECONDS]);
  const ofTunedCinder = await measure(cinderAs('Cinder with a tuned monitor', cinder));
  await ceph.ceph(['config', 'rm', 'mon', 'paxos_propose_interval']);
  await stopDownTo(beforeCinder);
  rmSync(directory, { recursive: true });
  const { stack } = await startOnCeph(servers, ceph, { imagesEndpoint: glance.endpoint });
  const create = async (imageId: string): Promise<string> =>
    (await createVolume(stack.cache, { imageId, backend: stack.backend, sizeBytes: VOLUME_GIB * GiB })).outcome;
  const assertCached = async (imageId: string): Promise<void> => {
    const outcome = await create(imageId);
    if (outcome !== 'hit') throw new Error(`expected a hit, got ${outcome}`);
  };
  const ours = await measure({
    name: 'image-volume-cache',
    create: async (imageId) => {
      await create(imageId);
      return {};
    },
    assertCached,
  });
  // With a worker of its own, which starts creates eagerly.
  const api = started(await startApi(stack, { worker: true }));
  // Others of the same make: the bytes of the first ones are cached.
  const oursThroughApi = await measure(
    { ...clientOf('image-volume-cache through its API', createVolumeClient(api.url)), assertCached },
    await makeSamples(servers.directory, 'api'),
  );
  return {
    measuredAt: new Date().toISOString(),
    versions: await findVersions(),
    cinder: ofCinder,
    tunedCinder: ofTunedCinder,
    ours,
    oursThroughApi,
  };
}

function clientOf(name: string, client: VolumeClient): Omit<Contender, 'assertCached'> {
  return {
    name,
    create: async (imageId, inFlight) => {
      const pollMs = inFlight === 1 ? ALONE_POLL_MS : TOGETHER_POLL_MS;
      return await client.createVolume({ imageId, sizeGiB: VOLUME_GIB, pollMs });
    },
  };
}

function cinderAs(name: string, cinder: RealCinder): Contender {
  return {
    ...clientOf(name, cinder),
    assertCached: async (imageId) => {
      if (!(await cinder.hasCached(imageId))) throw new Error(`Cinder has not cached image ${imageId}`);
    },
  };
}

interface Samples {
  hit: SampleImage;
  herd: SampleImage;
  cold: SampleImage[];
}

async function makeSamples(directory: string, of: string): Promise<Samples> {
  const make = (name: string, virtualBytes: number): Promise<SampleImage> =>
    makeSampleImage({ directory, name: `${of}-${name}`, virtualBytes });
  const cold: SampleImage[] = [];
  for (let index = 0; index < COLD_IMAGES; index += 1) cold.push(await make(`cold-${index}`, COLD_BYTES));
  return { hit: await make('hit', HIT_BYTES), herd: await make('herd', COLD_BYTES), cold };
}

/** Records of their own for each contender: Cinder's cache goes by the id. */
async function uploadAll(images: ImageService, { hit, herd, cold }: Samples): Promise<Images> {
  const upload = async (sample: SampleImage): Promise<string> => (await uploadSample(images, sample)).id;
  const coldIds: string[] = [];
  for (const sample of cold) coldIds.push(await upload(sample));
  return { hit: await upload(hit), herd: await upload(herd), cold: coldIds };
}

const packages = {
  Cinder: 'cinder-volume',
  Glance: 'glance-api',
  Ceph: 'ceph-osd',
  QEMU: 'qemu-utils',
  MariaDB: 'mariadb-server',
  RabbitMQ: 'rabbitmq-server',
};

async function findVersions(): Promise<Record<string, string>> {
  const versions = await installedVersions(Object.values(packages));
  const named = Object.entries(packages).map(([name, of]) => [name, versions[of] ?? 'unknown']);
  return { ...(Object.fromEntries(named) as Record<string, string>), Node: process.version };
}
