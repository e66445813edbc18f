import { describeEveryStep, type Act, type CaseFault, type Scenario } from '../support/every-step/every-step';
import { finalFailure } from '../support/every-step/faults';
import { newVolumeId, type Ending, type World } from '../support/every-step/world';
import type { CreateVolumeResult } from '../../workflows/contract/volume';

/** Where a flight that fails for good has no verdict, or has not told it: its waiters start the next one after their safety interval. */
const outsideOfTheVerdict = ['claimFlight', 'answerWaiters'];

const converting: Scenario = {
  name: 'a population that converts',
  image: 'qcow2 with subclusters',
  steps: ['claimFlight', 'reserveEntry', 'downloadToScratch', 'writeImageVolume', 'registerEntry', 'answerWaiters'],
  prepare: (world, fault) => Promise.resolve(actOf(world, fault)),
};

/** A qcow2 is written into the image-volume while it comes to the scratch. */
const unpacking: Scenario = {
  name: 'a population that unpacks',
  image: 'qcow2',
  steps: ['claimFlight', 'reserveEntry', 'downloadToScratch', 'registerEntry', 'answerWaiters'],
  struck: ['downloadToScratch', 'registerEntry'],
  prepare: (world, fault) => Promise.resolve(actOf(world, fault)),
};

/** A raw image goes straight into the image-volume. */
const streaming: Scenario = {
  name: 'a population that streams',
  image: 'raw',
  steps: ['claimFlight', 'reserveEntry', 'streamImageVolume', 'registerEntry', 'answerWaiters'],
  struck: ['streamImageVolume', 'registerEntry'],
  prepare: (world, fault) => Promise.resolve(actOf(world, fault)),
};

describe('PopulateImageCache', () => {
  describeEveryStep({ PopulateImageCache: [converting, unpacking, streaming] });
});

/** Two creates wait for the flight: both are answered, whatever happens to it. */
function actOf(world: World, fault?: CaseFault): Act {
  const volumeIds = [newVolumeId(), newVolumeId()];
  let endings: Ending<CreateVolumeResult>[] = [];
  const failsForAll = fault?.kind.startsWith('fails') && !outsideOfTheVerdict.includes(fault.step.activity);
  return {
    workflowId: world.flightId,
    run: async () => {
      const release = world.stack.faults.hold(world.flightId, 'claimFlight');
      const creates = volumeIds.map((volumeId) => world.create(volumeId));
      await Promise.all(volumeIds.map((volumeId) => world.untilWaiting(volumeId)));
      release();
      endings = await Promise.all(creates);
    },
    check: async () => {
      const states = await Promise.all(volumeIds.map(async (volumeId) => (await world.volume(volumeId))?.state));
      if (failsForAll) {
        const { type, message } = finalFailure;
        expect(endings).toEqual(volumeIds.map(() => ({ kind: 'failed', type, message })));
        expect(states).toEqual(['error', 'error']);
        return;
      }
      expect(endings).toMatchObject(volumeIds.map((volumeId) => ({ kind: 'done', result: { volumeId } })));
      expect(states).toEqual(['available', 'available']);
      for (const ending of endings)
        if (ending.kind === 'done') expect(await world.hasGuestBytes(ending.result)).toBe(true);
    },
  };
}
