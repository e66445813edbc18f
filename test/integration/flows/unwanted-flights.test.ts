import type { VolumeId } from '../../../workflows/contract/ids';
import { assertCleanSlate } from '../../support/every-step/slate';
import { startEveryStepStack, type EveryStepStack } from '../../support/every-step/step-stack';
import { createWorld, newVolumeId, type Ending, type World, resultOf } from '../../support/every-step/world';
import { until } from '../../support/stack/flows';
import type { CreateVolumeResult } from '../../../workflows/contract/volume';
import { openFlight } from '../../../db/join-flight';

let stack: EveryStepStack;
beforeAll(async () => {
  stack = await startEveryStepStack({ config: { population: { whenNobodyWaits: 'stop' } } });
});
afterAll(() => stack.stop());

interface Waiting {
  volumeId: VolumeId;
  ending: Promise<Ending<CreateVolumeResult>>;
}

/** Starts a create and returns when it waits for its flight. */
async function startWaiting(world: World): Promise<Waiting> {
  const volumeId = newVolumeId();
  const ending = world.create(volumeId);
  await world.untilWaiting(volumeId);
  return { volumeId, ending };
}

async function cancel({ volumeId, ending }: Waiting): Promise<void> {
  await stack.client.workflow.getHandle(stack.ids.createVolume(volumeId)).cancel();
  expect(await ending).toEqual({ kind: 'cancelled' });
}

async function untilScheduled(world: World, activity: string): Promise<void> {
  await until(`${activity} to be scheduled`, async () => {
    const { raw } = await stack.client.workflow.getHandle(world.flightId).describe();
    return raw.pendingActivities?.some(({ activityType }) => activityType?.name === activity);
  });
}

const statusOf = async ({ flightId }: World) =>
  (await stack.client.workflow.getHandle(flightId).describe()).status.name;
const flightOf = ({ cacheKey }: World) => stack.inventory.flight(cacheKey.short);
const entriesOf = ({ cacheKey }: World) => stack.inventory.entries({ shortKey: cacheKey.short });

describe('a flight that nobody waits for any more, where it is to stop then', () => {
  it('ends with the last of its waiters and leaves nothing; the next create leads a flight of its own', async () => {
    const world = await createWorld(stack, 'qcow2');
    const release = stack.faults.hold(world.flightId, 'downloadToScratch');
    const [first, second] = [await startWaiting(world), await startWaiting(world)];
    await untilScheduled(world, 'downloadToScratch');
    await cancel(first);
    expect(await statusOf(world)).toBe('RUNNING');
    expect(await flightOf(world)).toMatchObject({ flight: 1, answered: false });

    await cancel(second);
    expect(await flightOf(world)).toMatchObject({ flight: 1, answered: true });
    release();
    await world.untilClosed();
    expect(await statusOf(world)).toBe('CANCELLED');
    await assertCleanSlate(world);
    expect(await entriesOf(world)).toEqual([]);

    expect(await world.create()).toMatchObject({ kind: 'done', result: { outcome: 'miss' } });
    expect(await flightOf(world)).toMatchObject({ flight: 2 });
    await assertCleanSlate(world);
  });

  it('takes no create that comes while it is undone: that one leads the next flight', async () => {
    const world = await createWorld(stack, 'qcow2');
    const release = stack.faults.hold(world.flightId, 'downloadToScratch');
    const only = await startWaiting(world);
    await untilScheduled(world, 'downloadToScratch');
    const releaseUndo = stack.faults.hold(world.flightId, 'removeImageVolume');
    await cancel(only);
    const late = await startWaiting(world);
    expect(await flightOf(world)).toMatchObject({ flight: 2, leaderVolumeId: late.volumeId, answered: false });
    release();
    releaseUndo();
    const ending = await late.ending;
    expect(ending).toMatchObject({ kind: 'done', result: { outcome: 'miss' } });
    expect(await world.hasGuestBytes(resultOf(ending))).toBe(true);
    await assertCleanSlate(world);
  });

  it('goes on when all its bytes have come', async () => {
    const world = await createWorld(stack, 'qcow2 with subclusters');
    const release = stack.faults.hold(world.flightId, 'writeImageVolume');
    const only = await startWaiting(world);
    await untilScheduled(world, 'writeImageVolume');
    await cancel(only);
    expect(await flightOf(world)).toMatchObject({ answered: false });
    release();
    await world.untilClosed();
    expect(await statusOf(world)).toBe('COMPLETED');
    expect(await entriesOf(world)).toMatchObject([{ state: 'ready' }]);
    await assertCleanSlate(world);
  });

  it('goes on when no create began it', async () => {
    const world = await createWorld(stack);
    const { backend, database } = stack;
    const { cacheKey: key, image } = world;
    await openFlight(database, { backend, key, imageId: image.id, policyVersion: 'any' });
    const release = stack.faults.hold(world.flightId, 'streamImageVolume');
    const only = await startWaiting(world);
    await untilScheduled(world, 'streamImageVolume');
    await cancel(only);
    release();
    await world.untilClosed();
    expect(await entriesOf(world)).toMatchObject([{ state: 'ready' }]);
    await assertCleanSlate(world);
  });
});
