import { workflowTypes } from '../../workflows/contract/names';
import type { RefreshResult } from '../../workflows/contract/refresh';
import { describeEveryStep, type Scenario } from '../support/every-step/every-step';
import type { EveryStepStack } from '../support/every-step/step-stack';
import { createWorld, resultOf } from '../support/every-step/world';
import { repeatedAct } from '../support/every-step/runs';

const ofGoneImage: Scenario = {
  name: 'a refresh that finds an image gone',
  steps: ['planRefresh', 'refreshImages', 'settleMissing', 'deleteParent'],
  prepare: async (world) => {
    const { image, cacheKey, stack } = world;
    const { inventory, images } = stack;
    await ensureKnownImage(stack);
    const created = await world.create();
    if (created.kind !== 'done') throw new Error(`the create ended as ${JSON.stringify(created)}`);
    await world.remove(created.result.volumeId);
    const [entry] = await inventory.entries({ shortKey: cacheKey.short });
    if (entry === undefined) throw new Error('the image is not cached');
    await images.deleteImage(image.id);
    return repeatedAct<RefreshResult>(world, {
      type: workflowTypes.refreshImageCache,
      input: { imageIds: [image.id] },
      // A step that failed for good has left its part to the next run.
      isDone: ({ imagesAsked, gone, deletedEntries, unanswered }) =>
        unanswered === 0 && gone === imagesAsked && deletedEntries === 1,
      check: async () => expect(await inventory.stateOf(entry.id)).toBe('gone'),
    });
  },
};

const stacksWithKnown = new WeakSet<EveryStepStack>();

/** Absence is believed only of a service that knows another image of the cache. */
async function ensureKnownImage(stack: EveryStepStack): Promise<void> {
  if (stacksWithKnown.has(stack)) return;
  resultOf(await (await createWorld(stack)).create());
  stacksWithKnown.add(stack);
}

describe('RefreshImageCache', () => {
  describeEveryStep({ RefreshImageCache: [ofGoneImage] });
});
