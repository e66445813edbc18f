import { randomUUID } from 'node:crypto';
import { basename } from 'node:path';
import { createVolume, createVolumes } from '../../../client/volumes';
import { readCounter } from '../../support/stack/metrics';
import { makeSampleImage, uploadSample } from '../../support/images/sample-image';
import type { Stack } from '../../support/stack/stack';
import { MiB } from '../../../workflows/contract/bytes';
import type { BenchServers } from '../bench-stack';
import type { BareStorage } from '../floors';
import { workerPeakRssBytes } from '../peak';
import { rounded, timed, type Measure } from '../result';

const VOLUMES = 500;
/** As the product makes them. */
const IN_FLIGHT = 16;
const IMAGE_BYTES = 64 * MiB;

/** Many volumes of a cached image by one request, beside as many bare clones in a loop, as many at once, in the same run. */
export async function measureBulk(servers: BenchServers, stack: Stack, storage: BareStorage): Promise<Measure[]> {
  const { cache, backend, client } = stack;
  const name = `bulk-${basename(storage.backend)}`;
  const sample = await makeSampleImage({ directory: servers.directory, name, virtualBytes: IMAGE_BYTES });
  const image = await uploadSample(servers.images, sample);
  await createVolume(cache, { imageId: image.id, backend });
  const entries = await (await cache.inventory()).listEntries({ backend });
  const parent = entries.find(({ cacheKey }) => cacheKey.hashValue === image.hashValue)?.imageVolume ?? '';
  const bulk = async (count: number, requestId: string): Promise<void> => {
    const { result } = await createVolumes(cache, { imageId: image.id, backend, count, requestId }, {});
    if (result.volumes.length !== count) throw new Error(result.summary);
  };
  await bulk(IN_FLIGHT, randomUUID());
  const [way] = storage.cloneWays(IN_FLIGHT);
  if (way === undefined) throw new Error(`${storage.backend} has no bare clone`);
  const floor = await timed(VOLUMES, IN_FLIGHT, () => way.clone(parent));
  const requestId = randomUUID();
  const before = await statementsOf(stack);
  const { totalMs } = await timed(1, 1, () => bulk(VOLUMES, requestId));
  const statements = (await statementsOf(stack)) - before;
  const { historyLength } = await client.workflow.getHandle(cache.queues.ids.createVolumes(requestId)).describe();
  return [
    {
      measure: 'bulk',
      backend: storage.backend,
      inFlight: IN_FLIGHT,
      imageBytes: IMAGE_BYTES,
      n: VOLUMES,
      p50Ms: rounded(totalMs),
      perSecond: rounded((VOLUMES / totalMs) * 1000),
      floor: {
        what: `${VOLUMES} times ${way.what}`,
        p50Ms: rounded(floor.totalMs),
        perSecond: rounded((VOLUMES / floor.totalMs) * 1000),
      },
      ratio: rounded(totalMs / floor.totalMs, 2),
      historyEvents: historyLength,
      sqlStatements: statements,
      workerRssBytes: workerPeakRssBytes(stack),
    },
  ];
}

async function statementsOf({ workers: [worker] }: Stack): Promise<number> {
  if (!worker) throw new Error('no worker');
  return await readCounter(worker.metricsUrl, 'ivc_sql_statements_total');
}
