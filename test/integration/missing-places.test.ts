import { mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createVolume } from '../../client/volumes';
import type { Image } from '../../workflows/contract/image';
import { createMigratedDatabase, type MigratedDatabase } from '../support/database/database';
import { flowsOf } from '../support/stack/flows';
import { startStack, type Stack } from '../support/stack/stack';
import { readIvc } from '../support/stack/ivc';

let stack: Stack;
let samples: string;
let otherDatabase: MigratedDatabase | undefined;
const flow = flowsOf({ stack: () => stack, directory: () => samples });

beforeEach(async () => {
  samples = mkdtempSync(join(tmpdir(), 'ivc-places-'));
  stack = await startStack();
});
afterEach(() => stack.stop());
afterEach(async () => {
  await otherDatabase?.drop();
  otherDatabase = undefined;
});
afterEach(() => rmSync(samples, { recursive: true, force: true }));

const away = (): string => `${stack.volumesDirectory}-away`;

/** Leaves an empty mount point, as of a file system that is not mounted. */
function unmount(): void {
  renameSync(stack.volumesDirectory, away());
  mkdirSync(stack.volumesDirectory);
}

function mount(): void {
  rmdirSync(stack.volumesDirectory);
  renameSync(away(), stack.volumesDirectory);
}

function claim(): { installation: string; place: string } {
  const text = readFileSync(join(stack.volumesDirectory, 'backend.json'), 'utf8');
  return JSON.parse(text) as { installation: string; place: string };
}

async function cached(): Promise<Image> {
  const { image } = await flow.upload('cached');
  await createVolume(stack.cache, { imageId: image.id, backend: stack.backend });
  return image;
}

async function startOf(environment: NodeJS.ProcessEnv = {}): Promise<unknown> {
  const { ready } = await stack.spawnWorker({ environment });
  return await ready;
}

it('a worker whose file system is not mounted refuses to start, says what is expected there and makes nothing', async () => {
  const image = await cached();
  await stack.workers[0]?.stop();
  const { installation, place } = claim();
  unmount();
  const named = [`backends.${stack.backend}: ${stack.volumesDirectory} `, installation, '1 volume and 1 image-volume'];
  await expect(startOf()).rejects.toThrow(new RegExp([...named, `IVC_LOST_PLACE=${place}`].join('.*')));
  expect(readdirSync(stack.volumesDirectory)).toEqual([]);
  mount();
  await startOf();
  expect(await flow.create(image)).toMatchObject({ outcome: 'hit' });
});

it('a place that an operator calls lost is claimed anew, and the word holds for that place alone', async () => {
  await cached();
  await stack.workers[0]?.stop();
  const { place } = claim();
  unmount();
  await expect(startOf({ IVC_LOST_PLACE: 'yes' })).rejects.toThrow('IVC_LOST_PLACE: got "yes"');
  const worker = await stack.spawnWorker({ environment: { IVC_LOST_PLACE: place } });
  await worker.ready;
  await worker.stop();
  expect(claim().place).not.toBe(place);
  rmSync(stack.volumesDirectory, { recursive: true });
  await expect(startOf({ IVC_LOST_PLACE: place })).rejects.toThrow('backend.json');
});

it('a file system that goes away under a worker and comes back costs neither an entry nor a volume', async () => {
  const image = await cached();
  const { image: cold } = await flow.upload('cold');
  unmount();
  const hit = await flow.start(image);
  const miss = await flow.start(cold);
  const bypass = await flow.start(image, { bypassCache: true });
  for (const { handle } of [hit, bypass])
    await flow.until('its step to fail', async () => {
      const { raw } = await handle.describe();
      return raw.pendingActivities?.some(
        ({ lastFailure }) => lastFailure?.applicationFailureInfo?.type === 'BackendUnavailable',
      );
    });
  expect(readdirSync(stack.volumesDirectory)).toEqual([]);
  const doctor = await readIvc(['doctor'], stack.environment);
  expect(doctor.document['findings']).toContainEqual(
    expect.objectContaining({
      check: `backend ${stack.backend}`,
      state: 'fault',
      found: expect.stringContaining('backend.json'),
    }),
  );
  expect(await stack.inventory.entries({ state: 'ready' })).toHaveLength(1);
  mount();
  expect(await hit.result()).toMatchObject({ outcome: 'hit' });
  expect(await miss.result()).toMatchObject({ outcome: 'miss' });
  expect(await bypass.result()).toMatchObject({ outcome: 'bypassed' });
});

it('a worker on an empty database refuses the place of another installation, and can take it over with its volumes', async () => {
  await cached();
  await stack.workers[0]?.stop();
  const { installation } = claim();
  const fresh = await createMigratedDatabase();
  otherDatabase = fresh;
  const environment = { DATABASE_URL: fresh.url };
  await expect(startOf(environment)).rejects.toThrow(new RegExp(`${installation}.*IVC_INSTALLATION`, 's'));
  await startOf({ ...environment, IVC_INSTALLATION: installation });
  const { exitCode } = await readIvc(['reconcile', '--backend', stack.backend, '--adopt'], {
    ...stack.environment,
    ...environment,
  });
  expect(exitCode).toBe(0);
  const rows = await fresh.database.sql`select state from volumes`;
  expect(rows.map(({ state }) => state as string)).toEqual(['available']);
});

it('an inventory that holds something does not become another installation’s', async () => {
  await cached();
  await stack.workers[0]?.stop();
  await expect(startOf({ IVC_INSTALLATION: '00000000-0000-4000-8000-000000000000' })).rejects.toThrow(
    'IVC_INSTALLATION: got 00000000-0000-4000-8000-000000000000',
  );
});
