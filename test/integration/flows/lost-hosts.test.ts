import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { assertCleanSlate } from '../../support/every-step/slate';
import { startEveryStepStack, type EveryStepStack } from '../../support/every-step/step-stack';
import { createWorld, newVolumeId, type World } from '../../support/every-step/world';
import { until } from '../../support/stack/flows';

const HOSTS = 3;
/** Hosts that are picked, one after the other, before the run is cancelled. */
const ROUNDS = 8;

let stack: EveryStepStack;
beforeAll(async () => {
  stack = await startEveryStepStack({ lostHosts: HOSTS, config: { population: { whenNobodyWaits: 'stop' } } });
  // Nobody opens a scratch here, and nothing may come into one.
  await mkdir(join(stack.scratchDirectory, 'images'), { recursive: true });
});
afterAll(() => stack.stop());

interface Scheduled {
  activity: string;
  taskQueue: string;
  scheduleToStartMs: number;
}

async function activitiesOf(workflowId: string): Promise<Scheduled[]> {
  const { events } = await stack.client.workflow.getHandle(workflowId).fetchHistory();
  return (events ?? []).flatMap(({ activityTaskScheduledEventAttributes: scheduled }) => {
    if (!scheduled) return [];
    const { seconds, nanos } = scheduled.scheduleToStartTimeout ?? {};
    return [
      {
        activity: scheduled.activityType?.name ?? '',
        taskQueue: scheduled.taskQueue?.name ?? '',
        scheduleToStartMs: Number(seconds ?? 0) * 1000 + (nanos ?? 0) / 1e6,
      },
    ];
  });
}

/** Every host is tried, some of them again. */
async function untilLost(workflowId: string): Promise<void> {
  await until(`${workflowId} to have lost its hosts`, async () => {
    const transfers = (await activitiesOf(workflowId)).filter(({ activity }) => activity === 'downloadToScratch');
    return transfers.length >= ROUNDS && new Set(transfers.map(({ taskQueue }) => taskQueue)).size === HOSTS;
  });
}

/** One that was picked last may not be known to be lost; its undo is given up soon. */
async function expectShortUndo(workflowId: string): Promise<void> {
  const undos = (await activitiesOf(workflowId)).filter(({ activity }) => activity === 'releaseScratch');
  expect(undos.length).toBeLessThanOrEqual(1);
  for (const { scheduleToStartMs } of undos) expect(scheduleToStartMs).toBeGreaterThan(0);
}

async function cancel(world: World, volumeId: ReturnType<typeof newVolumeId>): Promise<void> {
  await stack.client.workflow.getHandle(stack.ids.createVolume(volumeId)).cancel();
  await world.untilClosed();
}

describe('a run that has lost one host after the other', () => {
  it('and populates the cache leaves them to the reconciler when it is cancelled', async () => {
    const world = await createWorld(stack, 'qcow2');
    const volumeId = newVolumeId();
    const ending = world.create(volumeId);
    await world.untilWaiting(volumeId);
    await untilLost(world.flightId);
    await cancel(world, volumeId);
    expect(await ending).toEqual({ kind: 'cancelled' });
    await expectShortUndo(world.flightId);
    await assertCleanSlate(world);
  });

  it('and bypasses the cache does so too', async () => {
    const world = await createWorld(stack, 'qcow2');
    const volumeId = newVolumeId();
    const ending = world.create(volumeId, { bypassCache: true });
    await untilLost(stack.ids.createVolume(volumeId));
    await cancel(world, volumeId);
    expect(await ending).toEqual({ kind: 'cancelled' });
    await expectShortUndo(stack.ids.createVolume(volumeId));
    await assertCleanSlate(world);
  });
});
