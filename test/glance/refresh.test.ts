import { warmCache } from '../../client/refresh';
import type { Image } from '../../workflows/contract/image';
import { expectCleanSlate, useStack } from '../support/stack/flows';
import { startRealGlance, type RealGlance } from '../support/glance/real-glance';
import { refreshFlows } from '../support/stack/refresh';

const START_TIMEOUT_MS = 300_000;

let glance: RealGlance;
const flow = useStack(async ({ after }) => {
  glance = await startRealGlance();
  after(() => glance.stop());
  return { imagesEndpoint: glance.endpoint };
}, START_TIMEOUT_MS);
const flows = refreshFlows(flow);

const addMember = async ({ id }: Image, member: string): Promise<void> => {
  const answer = await fetch(`${glance.endpoint}/v2/images/${id}/members`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ member }),
  });
  expect(answer.status).toBe(200);
};

describe('with a real Glance', () => {
  afterEach(() => expectCleanSlate(flow.stack));

  it('edited tags, properties and visibility, and a new member, download nothing and make no entry', async () => {
    const image = await flows.publish();
    const created = await flow.create(image);
    await flow.stack.images.addTag(image.id, 'edited');
    await flows.edit(image, [{ op: 'add', path: '/os_distro', value: 'debian' }]);
    await addMember(image, 'another-project');
    await flows.edit(image, [{ op: 'replace', path: '/visibility', value: 'community' }]);
    expect(await flows.refresh()).toMatchObject({ usable: 1, retiredEntries: [], unanswered: 0 });
    expect(await flow.create(image)).toMatchObject({ outcome: 'hit', bytesDownloaded: 0 });
    expect(await flow.entriesOf(image)).toMatchObject([{ generation: 1, state: 'ready', clones: 2 }]);
    expect(await flow.flightOf(image)).toMatchObject({ flight: 1, leaderVolumeId: created.volumeId });
  });

  it('a copy to another store downloads nothing and makes no entry, though the record has moved', async () => {
    const image = await flows.publish();
    await flow.create(image);
    expect(await glance.copyToOtherStore(image.id)).toHaveLength(2);
    const { updatedAt, properties } = await flow.stack.images.getImage(image.id);
    expect(updatedAt).not.toBe(image.updatedAt);
    expect(properties).toEqual({});
    expect(await flows.refresh({ imageIds: [image.id] })).toMatchObject({ usable: 1, retiredEntries: [] });
    expect(await flow.create(image)).toMatchObject({ outcome: 'hit', bytesDownloaded: 0 });
    expect(await flow.entriesOf(image)).toMatchObject([{ generation: 1, state: 'ready', clones: 2 }]);
    expect(await flow.flightOf(image)).toMatchObject({ flight: 1 });
  }, 120_000);

  it.each([
    ['a miss', 'miss', false],
    ['a bypassing create', 'bypassed', true],
  ])("%s under a workflow id of the caller's own ends like any other", async (_what, outcome, bypassCache) => {
    const image = await flows.publish();
    const running = await flow.startAs(image, { bypassCache });
    expect(await running.result()).toMatchObject({ outcome, volumeId: running.volumeId });
    expect(await flow.volume(running.volumeId)).toMatchObject({ state: 'available', workflowId: running.workflowId });
  });

  it('a follow has the newest that matches, also after it was deactivated, and what is gone leaves the cache', async () => {
    const meant = { name: 'debian-12', tags: ['latest'], properties: { os_distro: 'debian' } };
    const { tags, properties } = meant;
    const input = { imageName: meant.name, tags, properties };
    const old = await flows.publish(meant);
    await flows.publish({ ...meant, tags: [] });
    expect(await flows.follow(input)).toMatchObject({ outcome: 'flipped', imageId: old.id });
    const newest = await flows.publish(meant);
    expect((await flows.refresh({ follow: meant.name })).follows).toMatchObject([
      { outcome: 'flipped', imageId: newest.id },
    ]);
    expect(await flow.entriesOf(old)).toEqual([]);
    await flow.stack.images.deactivate(newest.id);
    expect(await flows.follow(input)).toMatchObject({ outcome: 'flipped', imageId: old.id });
    await flow.stack.images.reactivate(newest.id);
    expect(await flows.follow(input)).toMatchObject({ outcome: 'flipped', imageId: newest.id });

    const other = await flows.publish();
    await warmCache(flow.stack.cache, { imageIds: [other.id], backends: [flow.stack.backend] }, { wait: true });
    await flow.stack.images.deleteImage(other.id);
    expect(await flows.refresh({ imageIds: [other.id] })).toMatchObject({ gone: 1, deletedEntries: 1 });
  });
});
