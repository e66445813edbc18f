import { workflowTypes } from '../../workflows/contract/names';
import type { SeedResult } from '../../workflows/contract/upload';
import { describeEveryStep, type Scenario } from '../support/every-step/every-step';
import { repeatedAct } from '../support/every-step/runs';
import { resultOf, type World } from '../support/every-step/world';

const isCached = ({ outcome }: SeedResult): boolean => outcome === 'populated' || outcome === 'ready';

async function expectCached({ cacheKey, stack }: World): Promise<void> {
  const entries = await stack.inventory.entries({ shortKey: cacheKey.short });
  expect(entries.filter(({ state }) => state === 'ready')).toMatchObject([{ clones: 0 }]);
}

/** A volume with the image's bytes, and no entry. */
const bypassing = async (world: World) => resultOf(await world.create(undefined, { bypassCache: true }));

const ofVolume: Scenario = {
  name: 'a seeding',
  steps: [
    'planSeed',
    'takeImageSnapshot',
    'pickHost',
    'compareVolume',
    'openWarming',
    'awaitVerdict',
    'openWarming',
    'removeImageSnapshot',
  ],
  prepare: async (world) => {
    const { volumeId } = await bypassing(world);
    return repeatedAct<SeedResult>(world, {
      type: workflowTypes.seedImageCache,
      input: { imageId: world.image.id, volumeId },
      isDone: isCached,
      check: () => expectCached(world),
    });
  },
};

/** The flight that a seeding has opened. */
const ofFlight: Scenario = {
  name: 'a population from a volume',
  steps: ['claimFlight', 'reserveEntry', 'seedImageVolume', 'registerEntry', 'answerWaiters'],
  struck: ['seedImageVolume', 'registerEntry'],
  prepare: async (world) => {
    const { volumeId } = await bypassing(world);
    const seed = async (): Promise<SeedResult | undefined> => {
      const { ids } = world.stack;
      const input = { imageId: world.image.id, volumeId };
      const ending = await world.run<SeedResult>(
        workflowTypes.seedImageCache,
        ids.seed(volumeId, world.image.id),
        input,
      );
      return ending.kind === 'done' ? ending.result : undefined;
    };
    return {
      workflowId: world.flightId,
      run: async () => {
        const first = await seed();
        if (first !== undefined && isCached(first)) return;
        const second = await seed();
        expect(second !== undefined && isCached(second)).toBe(true);
      },
      check: () => expectCached(world),
    };
  },
};

describe('SeedImageCache', () => {
  describeEveryStep({ SeedImageCache: [ofVolume], PopulateImageCache: [ofFlight] });
});
