import { startEveryStepStack, type EveryStepStack } from '../../support/every-step/step-stack';
import { createWorld, newVolumeId, resultOf, type World } from '../../support/every-step/world';
import { until } from '../../support/stack/flows';
import type { VolumeId } from '../../../workflows/contract/ids';

let stack: EveryStepStack;
beforeAll(async () => {
  stack = await startEveryStepStack();
});
afterAll(() => stack.stop());

async function terminate(workflowId: string): Promise<void> {
  await stack.client.workflow.getHandle(workflowId).terminate('by the operator');
}

async function expectOwned(world: World, volumeId: VolumeId, workflowId: string): Promise<void> {
  const row = await world.volume(volumeId);
  expect(row).toMatchObject({ state: 'available', workflowId });
  const connection = row?.connection;
  expect(connection && (await world.hasGuestBytes({ connection }))).toBe(true);
}

describe('a run that was terminated in a step, and whose volume another run has taken over', () => {
  it.each([
    ['clones', 'acquireAndClone', false],
    ['writes', 'writeVolume', true],
  ])('harms nothing when that step goes on and %s later', async (_what, activity, bypassCache) => {
    const world = await createWorld(stack);
    if (!bypassCache) resultOf(await world.create());
    const volumeId = newVolumeId();
    const deadId = stack.ids.createVolume(volumeId);
    const armed = stack.faults.arm({ kind: 'finishes-late', workflowId: deadId, step: { activity, nth: 1 } });
    const dead = world.create(volumeId, { bypassCache }).catch((error: unknown) => error);
    await until('the step to hang', () => Promise.resolve(armed.hasStruck()));
    await terminate(deadId);
    await dead;

    const ownId = `my-create-of-${volumeId}`;
    expect(await world.create(volumeId, { bypassCache }, ownId)).toMatchObject({ kind: 'done', result: { volumeId } });
    await armed.finishLate();
    await expectOwned(world, volumeId, ownId);
  });

  it('harms nothing when that step was its undo', async () => {
    const world = await createWorld(stack);
    const release = stack.faults.hold(world.flightId, 'registerEntry');
    const volumeId = newVolumeId();
    const deadId = stack.ids.createVolume(volumeId);
    const armed = stack.faults.arm({
      kind: 'finishes-late',
      workflowId: deadId,
      step: { activity: 'removeVolume', nth: 1 },
    });
    const dead = world.create(volumeId).catch((error: unknown) => error);
    await world.untilWaiting(volumeId);
    await stack.client.workflow.getHandle(deadId).cancel();
    await until('the undo to hang', () => Promise.resolve(armed.hasStruck()));
    await terminate(deadId);
    await dead;
    release();

    const ownId = `my-create-of-${volumeId}`;
    expect(await world.create(volumeId, {}, ownId)).toMatchObject({ kind: 'done', result: { volumeId } });
    await armed.finishLate();
    await expectOwned(world, volumeId, ownId);
  });
});
