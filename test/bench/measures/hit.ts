import { basename } from 'node:path';
import { createVolume } from '../../../client/volumes';
import { readActions, readCounter } from '../../support/stack/metrics';
import { makeSampleImage, uploadSample } from '../../support/images/sample-image';
import type { Stack } from '../../support/stack/stack';
import { MiB } from '../../../workflows/contract/bytes';
import { startEmptyWorker, type BenchServers } from '../bench-stack';
import { runEmptyWorkflow, type BareStorage } from '../floors';
import { workerPeakRssBytes } from '../peak';
import { percentile, rounded, timed, type Measure } from '../result';

const HITS = 100;
const WARM_UP = 10;
const IMAGE_BYTES = 64 * MiB;

/** Hits at 1 and 8 in flight, each beside an empty workflow and a bare clone in the same run. */
export async function measureHits(servers: BenchServers, stack: Stack, storage: BareStorage): Promise<Measure[]> {
  const sample = await makeSampleImage({
    directory: servers.directory,
    name: `hit-${basename(storage.backend)}`,
    virtualBytes: IMAGE_BYTES,
  });
  const image = await uploadSample(servers.images, sample);
  const empty = await startEmptyWorker();
  const hit = async (): Promise<void> => {
    const { outcome } = await createVolume(stack.cache, { imageId: image.id, backend: stack.backend });
    if (outcome !== 'hit') throw new Error(`expected a hit, got ${outcome}`);
  };
  try {
    await createVolume(stack.cache, { imageId: image.id, backend: stack.backend });
    const [entry] = await (await stack.cache.inventory()).listEntries({ backend: stack.backend });
    const parent = entry?.imageVolume ?? '';
    await timed(WARM_UP, 1, hit);
    await timed(WARM_UP, 1, () => runEmptyWorkflow(stack.client, empty.taskQueue));
    const measures: Measure[] = [];
    for (const inFlight of [1, 8]) {
      const before = await counters(servers, stack, storage);
      const hits = await timed(HITS, inFlight, hit);
      const after = await counters(servers, stack, storage);
      const historyEvents = await eventsOfLastHit(stack);
      const workerRssBytes = workerPeakRssBytes(stack);
      const floorWorkflow = await timed(HITS, inFlight, () => runEmptyWorkflow(stack.client, empty.taskQueue));
      for (const { what, clone } of storage.cloneWays(inFlight)) {
        await timed(WARM_UP, inFlight, () => clone(parent));
        const floorClone = await timed(HITS, inFlight, () => clone(parent));
        const floorMs = percentile(floorWorkflow.eachMs, 0.5) + percentile(floorClone.eachMs, 0.5);
        const p50Ms = percentile(hits.eachMs, 0.5);
        measures.push({
          measure: 'hit',
          backend: storage.backend,
          inFlight,
          imageBytes: IMAGE_BYTES,
          n: HITS,
          p50Ms: rounded(p50Ms),
          p95Ms: rounded(percentile(hits.eachMs, 0.95)),
          perSecond: rounded((HITS / hits.totalMs) * 1000),
          floor: {
            what: `empty workflow + bare ${what}`,
            p50Ms: rounded(floorMs),
            perSecond: rounded((HITS / (floorWorkflow.totalMs + floorClone.totalMs)) * 1000),
          },
          bareClonesPerSecond: rounded((HITS / floorClone.totalMs) * 1000),
          ratio: rounded(p50Ms / floorMs, 2),
          temporalActions: rounded((after.actions - before.actions) / HITS, 2),
          historyEvents,
          processes: rounded((after.processes - before.processes) / HITS, 2),
          sqlStatements: rounded((after.statements - before.statements) / HITS, 2),
          ...(after.mapChanges !== undefined && { mapChanges: after.mapChanges - (before.mapChanges ?? 0) }),
          workerRssBytes,
        });
      }
    }
    return measures;
  } finally {
    await empty.stop();
  }
}

async function counters(
  { temporalMetricsUrl }: BenchServers,
  { workers }: Stack,
  { countMapChanges }: BareStorage,
): Promise<{ actions: number; statements: number; processes: number; mapChanges?: number }> {
  const [worker] = workers;
  if (!worker) throw new Error('no worker');
  return {
    actions: await readActions(temporalMetricsUrl),
    statements: await readCounter(worker.metricsUrl, 'ivc_sql_statements_total'),
    processes: await readCounter(worker.metricsUrl, 'ivc_processes_started_total'),
    mapChanges: await countMapChanges?.(),
  };
}

async function eventsOfLastHit({ cache, client, backend }: Stack): Promise<number> {
  const [volume] = await (await cache.inventory()).listVolumes({ backend, limit: 1 });
  if (!volume) throw new Error('no volume');
  const workflowId = cache.queues.ids.createVolume(volume.volumeId);
  return (await client.workflow.getHandle(workflowId).describe()).historyLength;
}
