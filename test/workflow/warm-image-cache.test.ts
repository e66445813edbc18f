import { workflowTypes } from '../../workflows/contract/names';
import type { WarmResult } from '../../workflows/contract/refresh';
import { describeEveryStep, type Scenario } from '../support/every-step/every-step';
import { repeatedAct } from '../support/every-step/runs';

const ofColdImage: Scenario = {
  name: 'a warming of a cold image that is to be pinned',
  steps: ['planWarming', 'openWarming', 'awaitVerdict', 'openWarming', 'pinWarmed'],
  prepare: (world) => {
    const { image, cacheKey, stack } = world;
    const { backend, inventory } = stack;
    const act = repeatedAct<WarmResult>(world, {
      type: workflowTypes.warmImageCache,
      input: { imageIds: [image.id], backends: [backend], pin: true, by: 'an operator' },
      isDone: ({ warmed }) => warmed.every(({ outcome }) => outcome === 'populated' || outcome === 'ready'),
      check: async () => {
        const entries = await inventory.entries({ shortKey: cacheKey.short });
        expect(entries).toMatchObject([{ state: 'ready', pinnedBy: 'an operator', clones: 0 }]);
      },
    });
    return Promise.resolve(act);
  },
};

describe('WarmImageCache', () => {
  describeEveryStep({ WarmImageCache: [ofColdImage] });
});
