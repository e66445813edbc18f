import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { createVolume } from '../../../client/volumes';
import { MiB } from '../../../workflows/contract/bytes';
import { makeSampleImage, uploadSample } from '../../support/images/sample-image';
import type { Stack } from '../../support/stack/stack';
import type { BenchServers } from '../bench-stack';
import { convertBare, type BareStorage } from '../floors';
import { workerPeakRssBytes } from '../peak';
import { percentile, rounded, timed, type Measure } from '../result';

const CALLERS = [1, 16, 100, 500];
const IMAGE_BYTES = 512 * MiB;

/** A herd on a cold image: all callers at once, until the last has its volume, beside one bare download and conversion. */
export async function measureHerds(servers: BenchServers, stack: Stack, storage: BareStorage): Promise<Measure[]> {
  const measures: Measure[] = [];
  for (const callers of CALLERS) {
    const sample = await makeSampleImage({
      directory: servers.directory,
      name: `herd-${basename(storage.backend)}-${callers}`,
      virtualBytes: IMAGE_BYTES,
    });
    const image = await uploadSample(servers.images, sample);
    const url = `${servers.imagesUrl}/v2/images/${image.id}/file`;
    const herd = await timed(callers, callers, async () => {
      await createVolume(stack.cache, { imageId: image.id, backend: stack.backend });
    });
    const { downloads } = await imageCounters(servers, image.id);
    const bare = { directory: stack.volumesDirectory, virtualBytes: IMAGE_BYTES, format: 'qcow2' };
    const { readMs, writeMs } = await convertBare(url, storage, bare);
    const floorMs = readMs + writeMs;
    const entries = await (await stack.cache.inventory()).listEntries({ backend: stack.backend, limit: 1000 });
    measures.push({
      measure: 'herd',
      backend: storage.backend,
      callers,
      imageBytes: (await stat(sample.path)).size,
      n: callers,
      p50Ms: rounded(percentile(herd.eachMs, 0.5)),
      p95Ms: rounded(percentile(herd.eachMs, 0.95)),
      perSecond: rounded((callers / herd.totalMs) * 1000),
      floor: { what: 'curl + qemu-img convert + fsync, once', p50Ms: rounded(floorMs) },
      ratio: rounded(herd.totalMs / floorMs, 2),
      downloads,
      populations: entries.filter(({ images }) => images.some(({ imageId }) => imageId === image.id)).length,
      workerRssBytes: workerPeakRssBytes(stack),
    });
  }
  return measures;
}

interface ImageCounters {
  downloads: number;
  bytesServed: number;
}

export async function imageCounters({ imagesUrl }: BenchServers, imageId: string): Promise<ImageCounters> {
  const counters = (await (await fetch(`${imagesUrl}/admin/counters`)).json()) as {
    images: Record<string, ImageCounters>;
  };
  return counters.images[imageId] ?? { downloads: 0, bytesServed: 0 };
}
