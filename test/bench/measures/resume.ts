import { rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createVolume } from '../../../client/volumes';
import { GiB } from '../../../workflows/contract/bytes';
import { makeSampleImage, uploadSample, type SampleImage } from '../../support/images/sample-image';
import type { Stack } from '../../support/stack/stack';
import type { BenchServers } from '../bench-stack';
import { hashBare, type BareStorage } from '../floors';
import { usedBytes } from '../peak';
import { rounded, timed, type Measure } from '../result';
import { imageCounters } from './herd';

const VIRTUAL_BYTES = 2 * GiB;
/** After how much of the download its worker is killed. */
const KILLED_AT = 0.5;
/** As the workflow has it: so long nobody knows that the worker is dead. */
const HEARTBEAT_TIMEOUT_MS = 15_000;
const POLL_MS = 5;

/**
 * A download whose worker is killed with SIGKILL in the middle and started again at once, beside one that is not. Its floor is what nobody can spare it:
 * the unbroken one, the heartbeat timeout, and reading again what is on disk.
 */
export async function measureResume(servers: BenchServers, stack: Stack, storage: BareStorage): Promise<Measure[]> {
  const unbroken = await prepare(servers, `unbroken-${basename(storage.backend)}`);
  const unbrokenMs = (await timed(1, 1, () => createMiss(stack, unbroken.imageId))).totalMs;
  const broken = await prepare(servers, `broken-${basename(storage.backend)}`);
  const brokenMs = (
    await timed(1, 1, async () => {
      const create = createMiss(stack, broken.imageId);
      await killAt(stack, broken.imageBytes * KILLED_AT);
      await stack.startWorker();
      await create;
    })
  ).totalMs;
  const { bytesServed } = await imageCounters(servers, broken.imageId);
  // A resumed download reads this again first.
  const readBackMs = await hashBare(broken.sample.path, broken.imageBytes * KILLED_AT);
  for (const { sample } of [unbroken, broken]) await removeSample(sample);
  const floorMs = unbrokenMs + HEARTBEAT_TIMEOUT_MS + readBackMs;
  return [
    {
      measure: 'resume',
      backend: storage.backend,
      imageBytes: broken.imageBytes,
      n: 1,
      p50Ms: rounded(brokenMs),
      floor: {
        what: `unbroken ${Math.round(unbrokenMs)} ms + heartbeat timeout + reading half again`,
        p50Ms: rounded(floorMs),
      },
      ratio: rounded(brokenMs / floorMs, 2),
      servedShare: rounded(bytesServed / broken.imageBytes, 3),
    },
  ];
}

async function prepare(servers: BenchServers, name: string) {
  const sample = await makeSampleImage({
    directory: servers.directory,
    name: `resume-${name}`,
    virtualBytes: VIRTUAL_BYTES,
  });
  const image = await uploadSample(servers.images, sample);
  return { sample, imageId: image.id, imageBytes: (await stat(sample.path)).size };
}

async function createMiss(stack: Stack, imageId: string): Promise<void> {
  const { outcome } = await createVolume(stack.cache, { imageId, backend: stack.backend });
  if (outcome !== 'miss') throw new Error(`expected a miss, got ${outcome}`);
}

async function killAt({ scratchDirectory, workers }: Stack, bytes: number): Promise<void> {
  const worker = workers.at(-1);
  while ((await usedBytes(join(scratchDirectory, 'images'))) < bytes) await delay(POLL_MS);
  await worker?.stop('SIGKILL');
}

async function removeSample({ path, rawPath }: SampleImage): Promise<void> {
  await rm(path, { force: true });
  await rm(rawPath, { force: true });
}
