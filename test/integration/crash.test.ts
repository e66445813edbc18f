import { readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { compareImages } from '../support/images/qemu';
import { createVolume } from '../../client/volumes';
import { listEntries } from '../../db/entries/entries';
import { selectVolumes } from '../../db/volumes';
import { MiB } from '../../workflows/contract/bytes';
import { makeSampleImage, uploadSample } from '../support/images/sample-image';
import { startStack, type Stack } from '../support/stack/stack';

const HERD = 16;

let directory: string;
let stack: Stack;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'ivc-crash-'));
  stack = await startStack();
});

afterAll(async () => {
  await stack.stop();
  await rm(directory, { recursive: true, force: true });
});

describe('a worker that is killed in the middle of a herd', () => {
  // Before the flight begins, in its transfer, and among the clones.
  it.each([30, 150, 400, 700])(
    'loses and doubles nothing when it dies %d ms after the herd came',
    async (afterMs) => {
      const sample = await makeSampleImage({ directory, name: `killed-${afterMs}`, virtualBytes: 64 * MiB });
      const image = await uploadSample(stack.images, sample);
      const running = Promise.all(
        Array.from({ length: HERD }, () => createVolume(stack.cache, { imageId: image.id, backend: stack.backend })),
      );
      await delay(afterMs);
      await stack.workers.at(-1)?.stop('SIGKILL');
      await stack.startWorker();

      const volumes = await running;
      for (const { connection } of volumes) {
        if (connection.driver !== 'file') throw new Error(`unexpected driver ${connection.driver}`);
        expect(await compareImages({ path: sample.rawPath, format: 'raw' }, connection)).toBe(true);
      }
      const entries = await listEntries(stack.database, { backend: stack.backend, limit: 100 });
      expect(entries.filter(({ hashValue }) => hashValue === image.hashValue)).toMatchObject([
        { state: 'ready', clones: HERD },
      ]);
      await expectCleanSlate();
    },
    180_000,
  );
});

/** Nothing is on the backend or in the scratch that the inventory does not know. */
async function expectCleanSlate(): Promise<void> {
  const rows = await selectVolumes(stack.database, { backend: stack.backend, limit: 1000 });
  expect(rows.filter(({ state }) => state !== 'available')).toEqual([]);
  const files = readdirSync(join(stack.volumesDirectory, 'volumes'));
  const known = new Set<string>(rows.map(({ id }) => id));
  expect(files.filter((name) => !known.has(name.split('.')[0] ?? ''))).toEqual([]);
  expect(files.filter((name) => /partial|tmp/.test(name))).toEqual([]);
  for (const folder of ['partial-volumes', 'partial-images'])
    expect(readdirSync(join(stack.volumesDirectory, folder))).toEqual([]);
  const entries = await listEntries(stack.database, { backend: stack.backend, limit: 1000 });
  const parents = readdirSync(join(stack.volumesDirectory, 'images')).filter((name) => name.endsWith('.raw'));
  expect(parents.sort()).toEqual(entries.map(({ imageVolume }) => `${imageVolume}.raw`).sort());
  expect(readdirSync(join(stack.scratchDirectory, 'images'))).toEqual([]);
}
