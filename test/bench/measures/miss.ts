import { rm, stat } from 'node:fs/promises';
import { createVolume } from '../../../client/volumes';
import { GiB, MiB } from '../../../workflows/contract/bytes';
import { makeSampleImage, uploadSample } from '../../support/sample-image';
import type { Stack } from '../../support/stack';
import { workerPeakRssBytes, type BenchServers } from '../bench-stack';
import { convertBare } from '../floors';
import { percentile, rounded, timed, type Measure } from '../result';

const SIZES = [64 * MiB, 512 * MiB, 2 * GiB];
const FORMATS = ['qcow2', 'raw'] as const;
const RUNS = 3;

/** Cold misses of images that are half random, each beside the bare tools in the same run. */
export async function measureMisses(servers: BenchServers, stack: Stack, method: string): Promise<Measure[]> {
  const measures: Measure[] = [];
  for (const diskFormat of FORMATS) {
    for (const virtualBytes of SIZES)
      measures.push(await measureMiss(servers, stack, { method, diskFormat, virtualBytes }));
  }
  return measures;
}

interface Miss {
  method: string;
  diskFormat: 'qcow2' | 'raw';
  virtualBytes: number;
}

async function measureMiss(
  servers: BenchServers,
  stack: Stack,
  { method, diskFormat, virtualBytes }: Miss,
): Promise<Measure> {
  const missesMs: number[] = [];
  const floorsMs: number[] = [];
  let imageBytes = 0;
  for (let run = 0; run < RUNS; run += 1) {
    const sample = await makeSampleImage({
      directory: servers.directory,
      name: `miss-${method}-${diskFormat}-${virtualBytes}-${run}`,
      diskFormat,
      virtualBytes,
    });
    imageBytes = (await stat(sample.path)).size;
    const image = await uploadSample(servers.images, sample);
    await rm(sample.path);
    await rm(sample.rawPath, { force: true });
    const url = `${servers.imagesUrl}/v2/images/${image.id}/file`;
    const miss = async (): Promise<void> => {
      const { outcome } = await createVolume(stack.cache, { imageId: image.id, backend: stack.backend });
      if (outcome !== 'miss') throw new Error(`expected a miss, got ${outcome}`);
    };
    missesMs.push((await timed(1, 1, miss)).totalMs);
    floorsMs.push(
      (
        await timed(1, 1, () =>
          convertBare(url, { directory: stack.volumesDirectory, virtualBytes, format: diskFormat }),
        )
      ).totalMs,
    );
    await servers.images.deleteImage(image.id);
  }
  const [p50Ms, floorMs] = [percentile(missesMs, 0.5), percentile(floorsMs, 0.5)];
  return {
    measure: 'miss',
    backend: `file/${method}`,
    imageBytes,
    n: RUNS,
    p50Ms: rounded(p50Ms),
    p95Ms: rounded(percentile(missesMs, 0.95)),
    floor: { what: `curl + qemu-img convert of ${diskFormat} + fsync`, p50Ms: rounded(floorMs) },
    ratio: rounded(p50Ms / floorMs, 2),
    workerRssBytes: workerPeakRssBytes(stack),
  };
}
