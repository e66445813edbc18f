import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { chooseDataDirectory } from '../../config/data-directory';
import { findEndpoints } from '../../config/endpoints';
import { openClient, type ImageVolumeCache } from '../../connection';
import { createVolume } from '../../volumes';
import { withProgress, type ProgressView } from '../output/progress';
import { note, print, printJson } from '../output/print';
import { formatReport, type ImageReport, type QuickstartReport, type VolumeReport } from './report';
import { makeSampleImage } from './sample-image';

const HITS = 5;
const HERD = 16;

export interface QuickstartOptions {
  /** The first image; default: one that is made up. */
  imagePath?: string;
  /** Default: as for every command. */
  dataDirectory?: string;
  /** Print one document on stdout. */
  json: boolean;
  /** Whether the stack stays until Ctrl-C. */
  stays: boolean;
}

/** The newcomer's first run: a stack, two images, a miss, hits and a herd. @returns the exit code. */
export async function quickstart({ imagePath, dataDirectory, json, stays }: QuickstartOptions): Promise<number> {
  // A newcomer's sample images are not for the cloud whose openrc happens to be sourced.
  for (const variable of ['OS_CLOUD', 'OS_AUTH_URL']) delete process.env[variable];
  const data = chooseDataDirectory(dataDirectory);
  const work = await mkdtemp(join(tmpdir(), 'ivc-quickstart-images-'));
  const stack = await ensureStack(data);
  try {
    const cache = openClient({ dataDirectory: data });
    try {
      const report = await run(cache, { imagePath, work });
      if (json) printJson(report);
      else
        print(formatReport(report, { stays, dataFlag: dataDirectory === undefined ? '' : ` --data ${dataDirectory}` }));
    } finally {
      await cache.close();
    }
    if (stays) {
      note('The stack runs until Ctrl-C.');
      await stack.interrupted;
    }
    return 0;
  } finally {
    await rm(work, { recursive: true, force: true });
    await stack.stop();
  }
}

async function run(
  cache: ImageVolumeCache,
  { imagePath, work }: { imagePath?: string; work: string },
): Promise<QuickstartReport> {
  const first = await upload(
    cache,
    imagePath === undefined ? await makeSampleImage(work, 'sample') : resolve(imagePath),
  );
  const second = await upload(cache, await makeSampleImage(work, 'herd'));
  note('creating a volume: a miss that populates the cache');
  const volumes = [await create(cache, first, true)];
  note(`creating ${HITS} more of the same image: hits`);
  for (let hit = 0; hit < HITS; hit += 1) volumes.push(await create(cache, first));
  note(`creating ${HERD} at once of a second image: one population`);
  volumes.push(...(await Promise.all(Array.from({ length: HERD }, () => create(cache, second)))));
  const images = await Promise.all([first, second].map((image) => countUse(cache, image)));
  return { images, volumes, temporalUi: cache.settings.uiUrl };
}

interface Uploaded {
  imageId: string;
  name: string;
  sizeBytes: number;
}

async function upload(cache: ImageVolumeCache, path: string): Promise<Uploaded> {
  note(`uploading ${path}`);
  const image = await (await cache.images()).upload(path);
  return { imageId: image.id, name: image.name ?? image.id, sizeBytes: image.sizeBytes ?? 0 };
}

async function create(cache: ImageVolumeCache, { imageId }: Uploaded, showProgress = false): Promise<VolumeReport> {
  const startedAtMs = performance.now();
  const make = (onProgress?: ProgressView['show']) => createVolume(cache, { imageId }, { onProgress });
  const made = await (showProgress ? withProgress(make) : make());
  const { volumeId, outcome, reason, bytesDownloaded, connection } = made;
  return {
    volumeId,
    imageId,
    outcome,
    reason,
    ms: Math.round(performance.now() - startedAtMs),
    bytesDownloaded,
    connection,
  };
}

/** Downloads are the image service's own count, populations the inventory's. */
async function countUse(cache: ImageVolumeCache, image: Uploaded): Promise<ImageReport> {
  const inventory = await cache.inventory();
  const entries = await inventory.listEntries({ limit: 1000 });
  const populations = entries.filter(({ images }) => images.some(({ imageId }) => imageId === image.imageId)).length;
  return { ...image, downloads: await (await cache.images()).countDownloads(image.imageId), populations };
}

interface StackHandle {
  /** Resolves at the first Ctrl-C or SIGTERM. */
  interrupted: Promise<void>;
  /** Stops the stack unless it ran before. */
  stop(): Promise<void>;
}

/** Starts the embedded stack of this data directory, or finds it running. Ctrl-C meanwhile stops what was started. */
async function ensureStack(dataDirectory: string): Promise<StackHandle> {
  const ranBefore = findEndpoints(dataDirectory) !== undefined;
  const interrupted = new Promise<void>((done) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => done());
  });
  let stopped = false;
  const stop = async (): Promise<void> => {
    if (stopped || ranBefore) return;
    stopped = true;
    await ivc('down', dataDirectory);
  };
  const started = ivc('up', dataDirectory, '--detach');
  await started;
  // An interrupt while volumes are made ends the program by way of the stack's stop.
  void interrupted.then(stop).then(() => process.exit(130));
  return { interrupted, stop };
}

/** Runs a command of the CLI in a process group of its own: Ctrl-C reaches us alone, and we decide. */
async function ivc(command: string, dataDirectory: string, ...more: string[]): Promise<void> {
  const args = [join(__dirname, '../main.js'), command, '--data', dataDirectory, ...more];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 2, 2], detached: true });
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`ivc ${command} ended with ${code}`);
}
