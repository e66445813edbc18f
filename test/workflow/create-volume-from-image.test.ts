import { randomUUID } from 'node:crypto';
import { describeEveryStep, type Act, type CaseFault, type Scenario } from '../support/every-step/every-step';
import { finalFailure } from '../support/every-step/faults';
import { newVolumeId, type Ending, type World } from '../support/every-step/world';
import type { VolumeId } from '../../workflows/contract/ids';
import type { CreateVolumeResult } from '../../workflows/contract/volume';

const hit: Scenario = {
  name: 'a hit',
  steps: ['admitVolume', 'acquireAndClone'],
  prepare: async (world, fault) => {
    expect(await world.create()).toMatchObject({ kind: 'done' });
    return actOf(world, { fault, outcome: 'hit' });
  },
};

const miss: Scenario = {
  name: 'a miss',
  steps: ['admitVolume', 'acquireAndClone', 'joinPopulation', 'awaitVerdict', 'acquireAndClone'],
  prepare: (world, fault) => Promise.resolve(actOf(world, { fault, outcome: 'miss' })),
};

/** The flight of another create is kept from its end until this one waits for it. */
const joined: Scenario = {
  name: 'a joining create',
  steps: ['admitVolume', 'acquireAndClone', 'joinPopulation', 'awaitVerdict', 'acquireAndClone'],
  struck: ['joinPopulation', 'awaitVerdict'],
  prepare: async (world, fault) => {
    const release = world.stack.faults.hold(world.flightId, 'registerEntry');
    const leaderId = newVolumeId();
    const leader = world.create(leaderId);
    await world.untilWaiting(leaderId);
    const act = actOf(world, { fault, outcome: 'joined' });
    return {
      ...act,
      run: async () => {
        const running = act.run();
        await world.untilWaiting(act.volumeId);
        release();
        await running;
        expect(await leader).toMatchObject({ kind: 'done', result: { outcome: 'miss' } });
      },
    };
  },
};

const bypassing: Scenario = {
  name: 'a bypassing create',
  steps: ['admitVolume', 'pickHost', 'downloadToScratch', 'writeVolume'],
  prepare: (world, fault) => Promise.resolve(actOf(world, { fault, outcome: 'bypassed' })),
};

/** Any Temporal client may start a create, under whatever id it likes. */
const missUnderOwnId: Scenario = {
  ...miss,
  name: 'a miss under an id of its own',
  struck: ['admitVolume', 'joinPopulation'],
  prepare: (world, fault) => Promise.resolve(actOf(world, { fault, outcome: 'miss', workflowIdOf: ownId })),
};

const bypassingUnderOwnId: Scenario = {
  ...bypassing,
  name: 'a bypassing create under an id of its own',
  struck: ['admitVolume', 'writeVolume'],
  prepare: (world, fault) => Promise.resolve(actOf(world, { fault, outcome: 'bypassed', workflowIdOf: ownId })),
};

function ownId(volumeId: VolumeId): string {
  return `my-create-of-${volumeId}`;
}

describe('CreateVolumeFromImage', () => {
  describeEveryStep({ CreateVolumeFromImage: [hit, miss, joined, bypassing, missUnderOwnId, bypassingUnderOwnId] });
});

interface CreateCase {
  fault?: CaseFault;
  outcome: CreateVolumeResult['outcome'];
  /** Default: the id that names the volume. */
  workflowIdOf?: (volumeId: VolumeId) => string;
}

function actOf(
  world: World,
  { fault, outcome, workflowIdOf = world.stack.ids.createVolume }: CreateCase,
): Act & { volumeId: VolumeId } {
  const volumeId = newVolumeId();
  const workflowId = workflowIdOf(volumeId);
  let ending: Ending<CreateVolumeResult> | undefined;
  // A refusal writes its decision record itself, so it must be a real one.
  const isRefused = fault?.kind === 'fails' && fault.step.activity === 'admitVolume';
  return {
    volumeId,
    failsByItself: isRefused,
    workflowId,
    run: async () => {
      const refused = isRefused ? { imageId: randomUUID() } : {};
      ending = await world.create(volumeId, { bypassCache: outcome === 'bypassed', ...refused }, workflowId);
    },
    check: async () => {
      if (!ending) throw new Error('the create did not run');
      if (fault?.kind === 'is-cancelled') await expectCancelled(world, volumeId, ending);
      else if (isRefused) await expectRefused(world, volumeId, ending);
      else if (fault?.kind.startsWith('fails')) await expectFailed(world, volumeId, ending);
      else await expectAvailable(world, { volumeId, ending, outcome });
    },
  };
}

async function expectAvailable(
  world: World,
  { volumeId, ending, outcome }: { volumeId: VolumeId; ending: Ending<CreateVolumeResult>; outcome?: string },
): Promise<void> {
  expect(ending).toMatchObject({ kind: 'done', result: { volumeId, ...(outcome === undefined ? {} : { outcome }) } });
  expect(await world.volume(volumeId)).toMatchObject({ state: 'available' });
  if (ending.kind === 'done') expect(await world.hasGuestBytes(ending.result)).toBe(true);
}

async function expectRefused(world: World, volumeId: VolumeId, ending: Ending<CreateVolumeResult>): Promise<void> {
  expect(ending).toMatchObject({ kind: 'failed', type: 'ImageNotFound' });
  expect(await world.volume(volumeId)).toBeUndefined();
}

async function expectFailed(world: World, volumeId: VolumeId, ending: Ending<CreateVolumeResult>): Promise<void> {
  const { type, message } = finalFailure;
  expect(ending).toEqual({ kind: 'failed', type, message });
  expect(await world.volume(volumeId)).toMatchObject({ state: 'error', errorType: type, errorMessage: message });
}

/** A cancel that comes when the work is done changes nothing. */
async function expectCancelled(world: World, volumeId: VolumeId, ending: Ending<CreateVolumeResult>): Promise<void> {
  if (ending.kind === 'done') return await expectAvailable(world, { volumeId, ending });
  expect(ending).toEqual({ kind: 'cancelled' });
  expect(await world.volume(volumeId)).toMatchObject({ state: 'deleted' });
}
