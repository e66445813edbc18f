import { basename } from 'node:path';
import { createVolume } from '../../../client/volumes';
import { MiB } from '../../../workflows/contract/bytes';
import { makeSampleImage, uploadSample } from '../../support/images/sample-image';
import { createVolumeClient } from '../../support/openstack/volume-client';
import { startApi } from '../../support/stack/api';
import type { Stack } from '../../support/stack/stack';
import type { BenchServers } from '../bench-stack';
import type { BareStorage } from '../floors';
import { workerPeakRssBytes } from '../peak';
import { percentile, rounded, timed, type Measure } from '../result';

const HITS = 100;
const WARM_UP = 10;
const IMAGE_BYTES = 64 * MiB;
const VOLUME_GIB = 1;
/** Alone a client asks without a pause; with others it leaves them the machine. */
const POLL_MS = { 1: 0, 8: 50 } as const;

/** Hits through the block-storage API at 1 and 8 clients, from the POST until the volume is seen as available, each beside the same by the library: by an API that is a client alone, and by one with a worker of its own (`api.worker`), which starts them eagerly. */
export async function measureApi(servers: BenchServers, stack: Stack, storage: BareStorage): Promise<Measure[]> {
  const plain = await measureThrough(servers, stack, { storage, measure: 'api', settings: {} });
  return [
    ...plain,
    ...(await measureThrough(servers, stack, { storage, measure: 'api-eager', settings: { worker: true } })),
  ];
}

interface Through {
  storage: BareStorage;
  measure: 'api' | 'api-eager';
  /** Of the section `api`. */
  settings: Record<string, unknown>;
}

async function measureThrough(
  servers: BenchServers,
  stack: Stack,
  { storage, measure, settings }: Through,
): Promise<Measure[]> {
  const sample = await makeSampleImage({
    directory: servers.directory,
    name: `${measure}-${basename(storage.backend)}`,
    virtualBytes: IMAGE_BYTES,
  });
  const { id: imageId } = await uploadSample(servers.images, sample);
  const api = await startApi(stack, settings);
  try {
    const client = createVolumeClient(api.url);
    await createVolume(stack.cache, { imageId, backend: stack.backend });
    const measures: Measure[] = [];
    for (const inFlight of [1, 8] as const) {
      const postMs: number[] = [];
      const hit = async (): Promise<void> => {
        const request = { imageId, sizeGiB: VOLUME_GIB, pollMs: POLL_MS[inFlight] };
        postMs.push((await client.createVolume(request)).postMs);
      };
      await timed(WARM_UP, inFlight, hit);
      postMs.length = 0;
      const hits = await timed(HITS, inFlight, hit);
      const floor = await timed(HITS, inFlight, async () => {
        await createVolume(stack.cache, { imageId, backend: stack.backend });
      });
      const [p50Ms, floorMs] = [percentile(hits.eachMs, 0.5), percentile(floor.eachMs, 0.5)];
      measures.push({
        measure,
        backend: storage.backend,
        inFlight,
        imageBytes: IMAGE_BYTES,
        n: HITS,
        p50Ms: rounded(p50Ms),
        p95Ms: rounded(percentile(hits.eachMs, 0.95)),
        perSecond: rounded((HITS / hits.totalMs) * 1000),
        postP50Ms: rounded(percentile(postMs, 0.5)),
        floor: {
          what: 'the same by the library',
          p50Ms: rounded(floorMs),
          perSecond: rounded((HITS / floor.totalMs) * 1000),
        },
        ratio: rounded(p50Ms / floorMs, 2),
        workerRssBytes: workerPeakRssBytes(stack),
      });
    }
    return measures;
  } finally {
    await api.stop();
  }
}
