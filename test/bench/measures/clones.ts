import { basename } from 'node:path';
import { createVolume } from '../../../client/volumes';
import { MiB } from '../../../workflows/contract/bytes';
import { readCounter } from '../../support/stack/metrics';
import { makeSampleImage, uploadSample } from '../../support/images/sample-image';
import type { Stack } from '../../support/stack/stack';
import type { BenchServers } from '../bench-stack';
import type { BareStorage } from '../floors';
import { percentile, rounded, timed, type Measure } from '../result';

const CLONES = 1000;
const WARM_UP = 10;
/** Of the first and of the last hits, one after the other. */
const SAMPLED = 50;
const IN_FLIGHT = 8;
const IMAGE_BYTES = 64 * MiB;

/** Hits on one image-volume until it has a thousand clones: the last ones beside the first. */
export async function measureClones(servers: BenchServers, stack: Stack, { backend }: BareStorage): Promise<Measure[]> {
  const sample = await makeSampleImage({
    directory: servers.directory,
    name: `clones-${basename(backend)}`,
    virtualBytes: IMAGE_BYTES,
  });
  const image = await uploadSample(servers.images, sample);
  const create = async (): Promise<void> =>
    void (await createVolume(stack.cache, { imageId: image.id, backend: stack.backend }));
  const hit = async (): Promise<{ p50Ms: number; p95Ms: number; statements: number; processes: number }> => {
    const before = await counters(stack);
    const { eachMs } = await timed(SAMPLED, 1, create);
    const after = await counters(stack);
    return {
      p50Ms: percentile(eachMs, 0.5),
      p95Ms: percentile(eachMs, 0.95),
      statements: rounded((after.statements - before.statements) / SAMPLED, 2),
      processes: rounded((after.processes - before.processes) / SAMPLED, 2),
    };
  };
  await timed(WARM_UP, 1, create);
  const first = await hit();
  const between = CLONES - WARM_UP - 2 * SAMPLED;
  const filled = await timed(between, IN_FLIGHT, create);
  const last = await hit();
  return [
    {
      measure: 'clones',
      backend,
      inFlight: 1,
      imageBytes: IMAGE_BYTES,
      n: CLONES,
      p50Ms: rounded(last.p50Ms),
      p95Ms: rounded(last.p95Ms),
      perSecond: rounded((between / filled.totalMs) * 1000),
      floor: { what: `the first ${SAMPLED} hits`, p50Ms: rounded(first.p50Ms) },
      ratio: rounded(last.p50Ms / first.p50Ms, 2),
      sqlStatements: last.statements,
      processes: last.processes,
    },
  ];
}

async function counters({ workers: [worker] }: Stack): Promise<{ statements: number; processes: number }> {
  if (!worker) throw new Error('no worker');
  return {
    statements: await readCounter(worker.metricsUrl, 'ivc_sql_statements_total'),
    processes: await readCounter(worker.metricsUrl, 'ivc_processes_started_total'),
  };
}
