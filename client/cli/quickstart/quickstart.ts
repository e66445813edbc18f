import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chooseDataDirectory } from '../../config/data-directory';
import { findEndpoints } from '../../config/endpoints';
import { openClient, type ImageVolumeCache } from '../../connection';
import { exitCodes } from '../../errors';
import { createVolume } from '../../volumes';
import { withProgress, type ProgressView } from '../output/progress';
import { note, print, printJson } from '../output/print';
import { formatReport, type ImageReport, type QuickstartReport, type VolumeReport } from './report';
import { makeSampleImage } from './sample-image';

const HITS = 5;
const HERD = 16;

/** Starts a program and keeps what it says, unless it fails. @throws when it fails, or when `signal` has ended it. */
type RunProgram = (
  command: string,
  args: readonly string[],
  options: { signal?: AbortSignal; detached?: boolean },
) => Promise<void>;

export interface QuickstartOptions {
  /** The first image; default: one that is made up. */
  imagePath?: string;
  /** Default: as for every command. */
  dataDirectory?: string;
  /** Print one document on stdout. */
  json: boolean;
  /** Whether the stack stays until Ctrl-C. */
  stays: boolean;
  /** Shows one step of the set-up while it runs, and how long it took. */
  step: (title: string, work: (tools: { run: RunProgram }) => Promise<void>) => Promise<void>;
}

/**
 * The newcomer's first run: a stack, two images, a miss, hits and a herd. A stack that it has started ends with it, on
 * Ctrl-C too, and so do the files of its images. @returns the exit code.
 */
export async function quickstart(options: QuickstartOptions): Promise<number> {
  // A newcomer's sample images are not for the cloud whose openrc happens to be sourced.
  for (const variable of ['OS_CLOUD', 'OS_AUTH_URL']) delete process.env[variable];
  const interrupt = new AbortController();
  const interrupted = new Promise<'interrupted'>((done) =>
    interrupt.signal.addEventListener('abort', () => done('interrupted')),
  );
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => interrupt.abort());
  const data = chooseDataDirectory(options.dataDirectory);
  const ranBefore = findEndpoints(data) !== undefined;
  const work = await mkdtemp(join(tmpdir(), 'ivc-quickstart-images-'));
  try {
    const made = createAllOnStack({ ...options, data, work }, interrupt.signal);
    if ((await Promise.race([interrupted, made])) === 'made') {
      if (ranBefore) note('The stack ran before, and goes on; `ivc down` stops it.');
      else if (options.stays) await waitUntilStopped(data, interrupt.signal);
      return exitCodes.done;
    }
  } catch (error) {
    // An error after an interrupt is no fault.
    if (!interrupt.signal.aborted) throw error;
  } finally {
    await rm(work, { recursive: true, force: true });
    if (!ranBefore) await options.step('stack stopped', async ({ run }) => await run(...ivc('down', data), APART));
  }
  // Creates may still wait for an answer of the stack that is gone.
  process.exit(exitCodes.interrupted);
}

/** In a process group of its own, so that Ctrl-C reaches this process alone, which decides. */
const APART = { detached: true };

async function createAllOnStack(
  { step, imagePath, dataDirectory, json, stays, data, work }: QuickstartOptions & { data: string; work: string },
  signal: AbortSignal,
): Promise<'made'> {
  await step('stack started', async ({ run }) => await run(...ivc('up', data, '--detach'), { ...APART, signal }));
  const cache = openClient({ dataDirectory: data });
  try {
    const report = await createAll(cache, { imagePath, work });
    signal.throwIfAborted();
    if (json) printJson(report);
    else
      print(formatReport(report, { stays, dataFlag: dataDirectory === undefined ? '' : ` --data ${dataDirectory}` }));
    return 'made';
  } finally {
    await cache.close();
  }
}

const STACK_LOOK_INTERVAL_MS = 500;

/** Until Ctrl-C, or until somebody else stops the stack. */
async function waitUntilStopped(data: string, signal: AbortSignal): Promise<void> {
  note('The stack runs until Ctrl-C.');
  while (!signal.aborted && findEndpoints(data) !== undefined) await sleep(STACK_LOOK_INTERVAL_MS);
  if (!signal.aborted) note('The stack has ended.');
}

async function createAll(
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
  const { uiUrl: temporalUi, endpoints } = cache.settings;
  return { images, volumes, temporalUi, blockStorageApi: endpoints?.api?.url };
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

/** @returns the program and the arguments of a command of the CLI. */
function ivc(command: string, data: string, ...more: string[]): [command: string, args: string[]] {
  return [process.execPath, [join(__dirname, '../main.js'), command, '--data', data, ...more]];
}
