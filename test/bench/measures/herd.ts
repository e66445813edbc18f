import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { createVolume } from '../../../client/volumes';
import { MiB } from '../../../workflows/contract/bytes';
import type { Image } from '../../../workflows/contract/image';
import { makeSampleImage, uploadSample } from '../../support/images/sample-image';
import type { Stack } from '../../support/stack/stack';
import type { BenchServers } from '../bench-stack';
import { convertBare, type BareStorage } from '../floors';
import { workerPeakRssBytes } from '../peak';
import { percentile, rounded, timed, type Measure } from '../result';

/** One first: its miss is what the others are held against. */
const CALLERS = [1, 16, 100, 500];
const IMAGE_BYTES = 512 * MiB;
const CLONES_AT_ONCE = 8;

/**
 * A herd on a cold image: all callers at once, until the last has its volume; beside one bare download and conversion, and beside one caller's miss and as
 * many bare clones.
 */
export async function measureHerds(servers: BenchServers, stack: Stack, storage: BareStorage): Promise<Measure[]> {
  const measures: Measure[] = [];
  const upload = async (name: string, virtualBytes: number): Promise<{ image: Image; imageBytes: number }> => {
    const sample = await makeSampleImage({ directory: servers.directory, name, virtualBytes });
    const image = await uploadSample(servers.images, sample);
    return { image, imageBytes: (await stat(sample.path)).size };
  };
  const create = async (imageId: string): Promise<void> =>
    void (await createVolume(stack.cache, { imageId, backend: stack.backend }));
  // The first miss of a worker loads what later ones find.
  await create((await upload(`herd-${basename(storage.backend)}-first`, MiB)).image.id);
  let missMs: number | undefined;
  for (const callers of CALLERS) {
    const { image, imageBytes } = await upload(`herd-${basename(storage.backend)}-${callers}`, IMAGE_BYTES);
    const url = `${servers.imagesUrl}/v2/images/${image.id}/file`;
    const herd = await timed(callers, callers, () => create(image.id));
    const { downloads } = await imageCounters(servers, image.id);
    const bare = { directory: stack.volumesDirectory, virtualBytes: IMAGE_BYTES, format: 'qcow2' };
    const { readMs, writeMs } = await convertBare(url, storage, bare);
    const floorMs = readMs + writeMs;
    const entries = await (await stack.cache.inventory()).listEntries({ backend: stack.backend, limit: 1000 });
    const populated = entries.filter(({ images }) => images.some(({ imageId }) => imageId === image.id));
    const [plainWay] = storage.cloneWays(callers);
    const parent = populated[0]?.imageVolume ?? '';
    const clones = await timed(callers, Math.min(callers, CLONES_AT_ONCE), async () => await plainWay?.clone(parent));
    measures.push({
      measure: 'herd',
      backend: storage.backend,
      callers,
      imageBytes,
      n: callers,
      p50Ms: rounded(percentile(herd.eachMs, 0.5)),
      p95Ms: rounded(percentile(herd.eachMs, 0.95)),
      perSecond: rounded((callers / herd.totalMs) * 1000),
      floor: { what: 'curl + qemu-img convert + fsync, once', p50Ms: rounded(floorMs) },
      ratio: rounded(herd.totalMs / floorMs, 2),
      ...(missMs !== undefined && { ofMissAndClones: rounded(herd.totalMs / (missMs + clones.totalMs), 2) }),
      downloads,
      populations: populated.length,
      workerRssBytes: workerPeakRssBytes(stack),
    });
    missMs ??= herd.totalMs;
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
