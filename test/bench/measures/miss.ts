import { rm, stat } from 'node:fs/promises';
import { createVolume } from '../../../client/volumes';
import { formatBytes, GiB, MiB } from '../../../workflows/contract/bytes';
import { makeSampleImage, uploadSample, type SampleOptions } from '../../support/images/sample-image';
import type { Stack } from '../../support/stack/stack';
import type { BenchServers } from '../bench-stack';
import { convertBare, type BareStorage } from '../floors';
import { createPageCache, type PageCache } from '../page-cache';
import { withPeaks, type Peaks } from '../peak';
import { percentile, rounded, timed, type Measure } from '../result';

/** Half of each disk is data: random, or for compressed clusters such as compresses to about the half. */
type Sample = Required<Pick<SampleOptions, 'diskFormat' | 'virtualBytes'>> & Pick<SampleOptions, 'compression'>;
const SAMPLES: Sample[] = [
  { diskFormat: 'qcow2', virtualBytes: 64 * MiB },
  { diskFormat: 'qcow2', virtualBytes: 512 * MiB },
  { diskFormat: 'qcow2', virtualBytes: 2 * GiB },
  { diskFormat: 'qcow2', virtualBytes: 512 * MiB, compression: 'zlib' },
  { diskFormat: 'qcow2', virtualBytes: 512 * MiB, compression: 'zstd' },
  { diskFormat: 'qcow2', virtualBytes: 2 * GiB, compression: 'zlib' },
  { diskFormat: 'raw', virtualBytes: 64 * MiB },
  { diskFormat: 'raw', virtualBytes: 512 * MiB },
  { diskFormat: 'raw', virtualBytes: 2 * GiB },
];
/** Even: in every other one the bare tools come first. */
const RUNS = 4;

/** Cold misses, each beside the bare tools in the same run, with the most that memory and scratch took. */
export async function measureMisses(servers: BenchServers, stack: Stack, storage: BareStorage): Promise<Measure[]> {
  const measures: Measure[] = [];
  const pageCache = await createPageCache(servers.directory);
  try {
    const place = { servers, stack, storage, pageCache };
    for (const sample of SAMPLES) measures.push(await measureMiss(place, sample));
  } finally {
    await pageCache.close();
  }
  return measures;
}

interface Place {
  servers: BenchServers;
  stack: Stack;
  storage: BareStorage;
  pageCache: PageCache;
}

interface Run {
  imageBytes: number;
  missMs: number;
  floorMs: number;
  hashMs: number;
  peaks: Peaks;
}

async function measureMiss(place: Place, kind: Sample): Promise<Measure> {
  const runs: Run[] = [];
  const name = nameOf(kind);
  for (let index = 0; index < RUNS; index += 1) {
    const run = await runOnce(place, { ...kind, bareFirst: index % 2 === 1 });
    runs.push(run);
    const [miss, floor, hash] = [run.missMs, run.floorMs, run.hashMs].map((ms) => Math.round(ms));
    const size = formatBytes(kind.virtualBytes);
    process.stderr.write(`${name} of ${size}: ${miss} ms beside ${floor} ms, its hash ${hash} ms\n`);
  }
  const percentileOf = (share: number, pick: (run: Run) => number) => percentile(runs.map(pick), share);
  const p50Ms = percentileOf(0.5, ({ missMs }) => missMs);
  const floorMs = percentileOf(0.5, (run) => run.floorMs);
  return {
    measure: 'miss',
    backend: place.storage.backend,
    imageBytes: Math.max(...runs.map(({ imageBytes }) => imageBytes)),
    n: RUNS,
    p50Ms: rounded(p50Ms),
    p95Ms: rounded(percentileOf(0.95, ({ missMs }) => missMs)),
    floor: { what: floorOf(name), p50Ms: rounded(floorMs) },
    ratio: rounded(p50Ms / floorMs, 2),
    hashMs: rounded(percentileOf(0.5, ({ hashMs }) => hashMs)),
    workerRssBytes: Math.max(...runs.map(({ peaks }) => peaks.workerRssBytes)),
    scratchBytes: Math.max(...runs.map(({ peaks }) => peaks.scratchBytes)),
  };
}

/** One image that nobody has seen: its miss, and the same by bare tools. */
async function runOnce(
  { servers, stack, storage, pageCache }: Place,
  { bareFirst, ...kind }: Sample & { bareFirst: boolean },
): Promise<Run> {
  const sample = await makeSampleImage({ ...kind, directory: servers.directory, name: 'miss' });
  const imageBytes = (await stat(sample.path)).size;
  const image = await uploadSample(servers.images, sample);
  await rm(sample.path);
  await rm(sample.rawPath, { force: true });
  const miss = async (): Promise<void> => {
    const { outcome } = await createVolume(stack.cache, { imageId: image.id, backend: stack.backend });
    if (outcome !== 'miss') throw new Error(`expected a miss, got ${outcome}`);
  };
  const url = `${servers.imagesUrl}/v2/images/${image.id}/file`;
  const { virtualBytes, diskFormat: format } = kind;
  const bare = () => convertBare(url, storage, { directory: stack.volumesDirectory, virtualBytes, format });
  const measureBare = async () => {
    await pageCache.fill();
    const { readMs, writeMs, hashMs } = await bare();
    return { floorMs: format === 'raw' ? Math.max(readMs, writeMs) : readMs + writeMs, hashMs };
  };
  const bareBefore = bareFirst ? await measureBare() : undefined;
  let missMs = 0;
  await pageCache.fill();
  const peaks = await withPeaks(stack, async () => void (missMs = (await timed(1, 1, miss)).totalMs));
  const floor = bareBefore ?? (await measureBare());
  await servers.images.deleteImage(image.id);
  return { imageBytes, missMs, ...floor, peaks };
}

function nameOf({ diskFormat, compression }: Omit<Sample, 'virtualBytes'>): string {
  return compression === undefined ? diskFormat : `${diskFormat} (${compression} clusters)`;
}

/** A raw image can be written while it comes: nobody needs more than the slower of both. */
function floorOf(name: string): string {
  const [read, write] = ['curl', `qemu-img convert of ${name} + fsync`];
  return name === 'raw' ? `the slower of ${read} and ${write}` : `${read} + ${write}`;
}
