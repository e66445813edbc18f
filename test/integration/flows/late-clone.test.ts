import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { VolumeBackend } from '../../../activities/backends/backend';
import { Failure } from '../../../workflows/contract/failures';
import { assertCleanSlate } from '../../support/every-step/slate';
import { startEveryStepStack, type EveryStepStack } from '../../support/every-step/step-stack';
import { createWorld, newVolumeId, type World, resultOf } from '../../support/every-step/world';
import { until } from '../../support/stack/flows';

/** Orders to the backend between the product and the real one. */
interface Orders {
  /** The next clone is made and its answer kept back until `letGo`; every later one is refused. */
  keepBack?: { volumeId: string; cloned: boolean; letGo: Promise<void> };
  /** The removal of this volume begins only then. */
  hold?: { volumeId: string; letGo: Promise<void> };
  /** Image-volumes that take no more clones. */
  fullParents: Set<string>;
  /** Ids of volumes that were made absent, in order. */
  removed: string[];
}

const orders: Orders = { fullParents: new Set(), removed: [] };
let stack: EveryStepStack;

function obeying(backend: VolumeBackend): VolumeBackend {
  return {
    ...backend,
    async ensureClone(parent, marker) {
      if (orders.fullParents.has(parent))
        throw new Failure('CloneLimitReached', { backend: backend.name, parent, limit: 1 });
      const { keepBack } = orders;
      if (keepBack?.volumeId !== marker.volumeId) return await backend.ensureClone(parent, marker);
      if (keepBack.cloned) throw new Failure('NoSpace', { backend: backend.name, neededBytes: 2, freeBytes: 1 });
      const connection = await backend.ensureClone(parent, marker);
      keepBack.cloned = true;
      await keepBack.letGo;
      return connection;
    },
    async ensureVolumeAbsent(volumeId) {
      if (orders.hold?.volumeId === volumeId) await orders.hold.letGo;
      await backend.ensureVolumeAbsent(volumeId);
      orders.removed.push(volumeId);
    },
  };
}

beforeAll(async () => {
  stack = await startEveryStepStack({ wrapBackend: obeying });
});
afterAll(() => stack.stop());

function filesOf(volumeId: string): string[] {
  const folders = ['volumes', 'partial-volumes'].map((folder) => join(stack.volumesDirectory, folder));
  return folders.flatMap((folder) => readdirSync(folder)).filter((name) => name.startsWith(volumeId));
}

function entriesOf({ cacheKey }: World) {
  return stack.inventory.entries({ shortKey: cacheKey.short });
}

describe('a clone that ends after its create was given up and its bytes were removed', () => {
  it('neither makes the volume available nor leaves anything of it', async () => {
    const world = await createWorld(stack);
    expect(await world.create()).toMatchObject({ kind: 'done' });
    const volumeId = newVolumeId();
    let letGo = (): void => undefined;
    orders.keepBack = { volumeId, cloned: false, letGo: new Promise((resolve) => (letGo = resolve)) };
    const release = stack.faults.hold(stack.ids.createVolume(volumeId), 'failVolume');

    const create = world.create(volumeId);
    await until('the undo to have removed the clone', () => Promise.resolve(orders.removed.includes(volumeId)));
    expect(filesOf(volumeId)).toEqual([]);
    letGo();
    await until('the late clone to find itself given up', () =>
      Promise.resolve(orders.removed.filter((removed) => removed === volumeId).length === 2),
    );
    expect(await world.volume(volumeId)).toMatchObject({ state: 'creating', givenUp: true });
    release();
    expect(await create).toMatchObject({ kind: 'failed', type: 'NoSpace' });
    expect(await world.volume(volumeId)).toMatchObject({ state: 'error' });
    await assertCleanSlate(world);

    delete orders.keepBack;
    expect(await world.create(volumeId)).toMatchObject({ kind: 'done', result: { volumeId, outcome: 'hit' } });
    expect(await world.volume(volumeId)).toMatchObject({ state: 'available', givenUp: false });
  });
});

describe('a removal that takes long', () => {
  it('tells that its worker lives, so that a killed one is noticed', async () => {
    const world = await createWorld(stack);
    const { volumeId } = resultOf(await world.create());
    let letGo = (): void => undefined;
    orders.hold = { volumeId, letGo: new Promise((resolve) => (letGo = resolve)) };
    const removal = world.remove(volumeId);
    const handle = stack.client.workflow.getHandle(stack.ids.deleteVolume(volumeId));
    await until('the removal to tell that its worker lives', async () => {
      const { raw } = await handle.describe();
      const [step] = raw.pendingActivities ?? [];
      return step?.activityType?.name === 'deleteVolume' && Boolean(step.lastHeartbeatTime);
    });
    letGo();
    expect(await removal).toMatchObject({ kind: 'done', result: { volumeId } });
    delete orders.hold;
    await assertCleanSlate(world);
  });
});

describe('a parent of which the backend lets nobody make another clone', () => {
  it('is retired, and a herd gets its volumes of the next generation', async () => {
    const world = await createWorld(stack);
    expect(await world.create()).toMatchObject({ kind: 'done' });
    const [first] = await entriesOf(world);
    orders.fullParents.add(first?.imageVolume ?? '');
    const endings = await Promise.all(Array.from({ length: 4 }, () => world.create()));
    for (const ending of endings) {
      expect(ending).toMatchObject({ kind: 'done' });
      expect(await world.hasGuestBytes(resultOf(ending))).toBe(true);
    }
    await assertCleanSlate(world);
    expect(await entriesOf(world)).toMatchObject([
      { generation: 2, state: 'ready', clones: 4 },
      { generation: 1, state: 'retired', reason: 'clone-limit', clones: 1 },
    ]);
  });
});
