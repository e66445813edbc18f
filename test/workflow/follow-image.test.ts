import { randomUUID } from 'node:crypto';
import { cacheKeyOf } from '../../activities/kit/cache-key';
import { selectFollows } from '../../db/follows/follows';
import { MiB } from '../../workflows/contract/bytes';
import type { Image } from '../../workflows/contract/image';
import { workflowTypes } from '../../workflows/contract/names';
import type { FollowOutcome } from '../../workflows/contract/refresh';
import { describeEveryStep, type Scenario } from '../support/every-step/every-step';
import { repeatedAct } from '../support/every-step/runs';
import type { World } from '../support/every-step/world';
import { makeSampleImage, uploadSample } from '../support/images/sample-image';

/** The world's own image is what the follow points to when the run begins. */
const ofNewerImage: Scenario = {
  name: 'a follow whose image has a newer one',
  steps: [
    'setFollow',
    'matchFollow',
    'openWarming',
    'awaitVerdict',
    'openWarming',
    'flipFollow',
    'retireSuperseded',
    'deleteParent',
  ],
  prepare: async (world) => {
    const { backend, database, inventory } = world.stack;
    const name = `follow-${randomUUID().slice(0, 8)}`;
    const input = { imageName: name, backend, pin: true };
    await rename(world, name);
    const following = { type: workflowTypes.followImage, input };
    const isDone = ({ outcome }: FollowOutcome) => outcome === 'flipped' || outcome === 'current';
    await repeatedAct<FollowOutcome>(world, { ...following, isDone, check: () => Promise.resolve() }).run();
    const newest = await publish(world, name);
    const findFormer = () => inventory.entries({ shortKey: world.cacheKey.short });
    return repeatedAct<FollowOutcome>(world, {
      ...following,
      // An entry that could not be deleted is deleted by the next run.
      isDone: async (outcome) => isDone(outcome) && (await findFormer()).length === 0,
      check: async () => {
        expect(await selectFollows(database, { backend, name, limit: 10 })).toMatchObject([
          { currentImageId: newest.id, newestImageId: newest.id, problem: null },
        ]);
        const entries = await inventory.entries({ shortKey: cacheKeyOf(newest).short });
        expect(entries).toMatchObject([{ state: 'ready', pinnedBy: `follow:${name}`, supersededAt: null }]);
        expect(await findFormer()).toEqual([]);
      },
    });
  },
};

describe('FollowImage', () => {
  describeEveryStep({ FollowImage: [ofNewerImage] });
});

async function rename({ stack, image }: World, name: string): Promise<void> {
  const answer = await fetch(`${stack.images.endpoint}/v2/images/${image.id}`, {
    method: 'PATCH',
    headers: { 'content-type': 'application/openstack-images-v2.1-json-patch' },
    body: JSON.stringify([{ op: 'replace', path: '/name', value: name }]),
  });
  expect(answer.status).toBe(200);
}

async function publish(world: World, name: string): Promise<Image> {
  const { stack } = world;
  const sample = await makeSampleImage({
    directory: stack.samplesDirectory,
    name,
    diskFormat: 'raw',
    virtualBytes: MiB,
  });
  const image = await uploadSample(stack.images, sample, { name });
  world.workflowIds.add(stack.ids.populate(stack.backend, cacheKeyOf(image).short));
  return image;
}
