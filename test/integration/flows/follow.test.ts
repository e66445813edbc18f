import { randomUUID } from 'node:crypto';
import { unfollowImage } from '../../../client/refresh';
import { createVolume, deleteVolume } from '../../../client/volumes';
import type { EntryId } from '../../../workflows/contract/ids';
import { expectCleanSlate, useStack } from '../../support/stack/flows';
import { refreshFlows } from '../../support/stack/refresh';
import { pinEntries } from '../../../db/evictions/evictor';

const flow = useStack({ config: { createSafetyInterval: '3s' } });
const { publish, makeSample, follow, refresh, followOf, entry, downloadsOf, bytesServedOf, imageStateOf } =
  refreshFlows(flow);

/** Images of one test have a name of their own. */
const named = () => `image-${randomUUID().slice(0, 8)}`;
const from = async (name: string, volumeId?: string) => {
  const { cache, backend } = flow.stack;
  return await createVolume(cache, { imageId: `follow:${name}`, backend, volumeId });
};

describe('a follow', () => {
  afterEach(async () => {
    await flow.stack.imageService.clearFaults();
    await expectCleanSlate(flow.stack);
  });

  it('has the newest image that matches populated, and creates from it are hits', async () => {
    const name = named();
    await publish({ name });
    const newest = await publish({ name });
    await publish({ name: `${name}-other` });
    expect(await follow({ imageName: name })).toMatchObject({ outcome: 'flipped', imageId: newest.id, retired: [] });
    const created = await from(name);
    expect(created).toMatchObject({ outcome: 'hit', imageId: newest.id });
    expect(await follow({ imageName: name })).toMatchObject({ outcome: 'current', imageId: newest.id });
    expect(await downloadsOf(newest)).toBe(1);
  });

  it('means only images with all of its tags, properties and its owner', async () => {
    const name = named();
    const tags = ['latest', 'stable'];
    const properties = { os_distro: 'debian', os_version: '12' };
    const meant = await publish({ name, tags, properties });
    await publish({ name, tags: ['latest'], properties });
    await publish({ name, tags, properties: { os_distro: 'debian' } });
    const newest = await publish({ name });
    expect(await follow({ imageName: name, tags, properties })).toMatchObject({
      outcome: 'flipped',
      imageId: meant.id,
    });
    expect(await follow({ imageName: name, name: `${name}-of`, owner: 'nobody' })).toMatchObject({
      outcome: 'no-match',
    });
    await expect(from(`${name}-of`)).rejects.toMatchObject({ type: 'FollowNotFound', exitCode: 3 });
    expect(await follow({ imageName: name })).toMatchObject({ outcome: 'flipped', imageId: newest.id });
  });

  it('flips only when the newer image is ready, and creates that come before get the one that is', async () => {
    const name = named();
    const old = await publish({ name });
    await follow({ imageName: name, keep: 1 });
    const before = (await followOf(name))?.currentEntryId ?? null;
    const next = await publish({ name });
    await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: next.id, times: 1_000_000 });
    const refreshing = refresh({ follow: name });
    await flow.until('the next one to be populating', async () => (await flow.flightOf(next))?.runId ?? false);

    expect(await followOf(name)).toMatchObject({ currentImageId: old.id, newestImageId: next.id });
    expect(await from(name)).toMatchObject({ outcome: 'hit', imageId: old.id });
    await flow.stack.imageService.clearFaults();
    expect((await refreshing).follows).toMatchObject([{ outcome: 'flipped', imageId: next.id, retired: [] }]);
    expect(await from(name)).toMatchObject({ outcome: 'hit', imageId: next.id });
    const superseded = await entry(before);
    expect(superseded).toMatchObject({ state: 'ready', supersededBy: (await followOf(name))?.id });
    expect(superseded?.supersededAt).not.toBeNull();
  });

  it('flips while creates run, and no create fails', async () => {
    const name = named();
    const images = [await publish({ name })];
    await follow({ imageName: name });
    const created: { imageId: string | null; outcome: string }[] = [];
    const over = new AbortController();
    const creating = Promise.all(
      Array.from({ length: 4 }, async () => {
        while (!over.signal.aborted) created.push(await from(name));
      }),
    );
    for (let generation = 0; generation < 3; generation += 1) {
      images.push(await publish({ name }));
      expect(await follow({ imageName: name })).toMatchObject({ outcome: 'flipped' });
    }
    over.abort();
    await creating;
    expect(new Set(created.map(({ outcome }) => outcome))).toEqual(new Set(['hit']));
    expect(await from(name)).toMatchObject({ imageId: images.at(-1)?.id });
    for (const image of images) expect(await downloadsOf(image)).toBe(1);
  });

  it('keeps as many former contents as it is told, and retires and deletes those before', async () => {
    const name = named();
    const entries: (EntryId | null)[] = [];
    for (let generation = 0; generation < 4; generation += 1) {
      await publish({ name });
      await follow({ imageName: name, keep: 2 });
      entries.push((await followOf(name))?.currentEntryId ?? null);
    }
    const states = await Promise.all(entries.map(async (id) => (await entry(id))?.state));
    expect(states).toEqual(['gone', 'ready', 'ready', 'ready']);
    expect(await entry(entries[0] ?? null)).toMatchObject({ reason: 'superseded' });
  });

  it('retires a former content that clones need, which goes with the last of them', async () => {
    const name = named();
    await publish({ name });
    await follow({ imageName: name });
    const { volumeId } = await from(name);
    const before = (await followOf(name))?.currentEntryId ?? null;
    await publish({ name });
    expect(await follow({ imageName: name })).toMatchObject({ outcome: 'flipped', retired: [before] });
    const { clones } = (await entry(before)) ?? {};
    expect(await entry(before)).toMatchObject({ state: clones === 0 ? 'gone' : 'retired' });
    await deleteVolume(flow.stack.cache, volumeId);
    expect(await entry(before)).toMatchObject({ state: 'gone' });
  });

  it('pins the current one and unpins the former, but never what an operator has pinned', async () => {
    const name = named();
    await publish({ name });
    await follow({ imageName: name, pin: true, keep: 1 });
    const first = (await followOf(name))?.currentEntryId ?? null;
    expect(await entry(first)).toMatchObject({ pinned: true, pinnedBy: `follow:${name}` });
    await publish({ name });
    await follow({ imageName: name, pin: true, keep: 1 });
    const second = (await followOf(name))?.currentEntryId ?? null;
    expect(await entry(first)).toMatchObject({ pinned: false, pinnedBy: null });
    expect(await entry(second)).toMatchObject({ pinned: true });

    await pinEntries(flow.stack.database, { target: { entryId: first as EntryId }, pinned: true, by: 'an operator' });
    await publish({ name });
    expect(await follow({ imageName: name, keep: 0 })).toMatchObject({ outcome: 'flipped', retired: [second] });
    expect(await entry(first)).toMatchObject({ state: 'ready', pinnedBy: 'an operator' });
    await unfollowImage(flow.stack.cache, { name, backend: flow.stack.backend });
  });

  it('does not retire a content that another follow points to', async () => {
    const [name, other] = [named(), named()];
    const sample = await makeSample();
    await publish({ name }, sample);
    await publish({ name: other }, sample);
    await follow({ imageName: name });
    await follow({ imageName: other });
    const shared = (await followOf(name))?.currentEntryId ?? null;
    expect((await followOf(other))?.currentEntryId).toBe(shared);
    await publish({ name });
    expect(await follow({ imageName: name })).toMatchObject({ outcome: 'flipped', retired: [] });
    expect(await entry(shared)).toMatchObject({ state: 'ready', supersededAt: null });
    await publish({ name: other });
    expect(await follow({ imageName: other })).toMatchObject({ outcome: 'flipped', retired: [shared] });
    expect(await entry(shared)).toMatchObject({ state: 'gone' });
  });

  it('goes back to the one before when its newest image is deactivated or deleted', async () => {
    const name = named();
    const [old, newest] = [await publish({ name }), await publish({ name })];
    await follow({ imageName: name });
    await flow.stack.images.deactivate(newest.id);
    expect(await follow({ imageName: name })).toMatchObject({ outcome: 'flipped', imageId: old.id });
    await flow.stack.images.reactivate(newest.id);
    expect(await follow({ imageName: name })).toMatchObject({ outcome: 'flipped', imageId: newest.id });
    await flow.stack.images.deleteImage(newest.id);
    await flow.stack.images.deleteImage(old.id);
    expect(await follow({ imageName: name })).toMatchObject({ outcome: 'no-match' });
    expect(await followOf(name)).toMatchObject({ problem: 'no active image matches', newestImageId: null });
    await refresh({ imageIds: [newest.id] });
    expect(await imageStateOf(newest)).toBe('gone');
  });

  it('whose newest image is refused stays with the one before, and says why', async () => {
    const name = named();
    const good = await publish({ name });
    await follow({ imageName: name });
    await publish({ name, diskFormat: 'qcow2' });
    const failed = await follow({ imageName: name });
    expect(failed).toMatchObject({ outcome: 'failed' });
    expect(await followOf(name)).toMatchObject({ currentImageId: good.id, problem: failed.summary });
    expect(await from(name)).toMatchObject({ outcome: 'hit', imageId: good.id });
    const mended = await publish({ name });
    expect(await follow({ imageName: name })).toMatchObject({ outcome: 'flipped', imageId: mended.id });
    expect(await followOf(name)).toMatchObject({ problem: null });
  });

  it('gives the same volume for the same volume id, though it has moved on', async () => {
    const name = named();
    const old = await publish({ name });
    await follow({ imageName: name });
    const volumeId = randomUUID();
    const first = await from(name, volumeId);
    await publish({ name });
    await follow({ imageName: name });
    const again = await from(name, volumeId);
    expect(again).toMatchObject({ volumeId, imageId: old.id, connection: first.connection });
    await expect(flow.create(old, { volumeId })).rejects.toMatchObject({ type: 'Conflict' });
  });

  it('that has nothing ready yet stands for the newest that matched', async () => {
    const name = named();
    const image = await publish({ name });
    await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: image.id, times: 1_000_000 });
    const following = follow({ imageName: name });
    await flow.until('the follow to have matched', async () => (await followOf(name))?.newestImageId ?? false);
    const volumeId = randomUUID();
    const creating = from(name, volumeId);
    await flow.untilWaiting(volumeId);
    await flow.stack.imageService.clearFaults();
    expect(await creating).toMatchObject({ imageId: image.id });
    expect(await following).toMatchObject({ outcome: 'flipped' });
    // The requests that were refused before are counted too: the bytes served tell whether it was downloaded twice.
    expect(await bytesServedOf(image)).toBe(image.sizeBytes);
  });

  it('set sixteen times at once is one follow, and what was said last holds', async () => {
    const name = named();
    const image = await publish({ name });
    const endings = await Promise.all(
      Array.from({ length: 16 }, () => follow({ imageName: name }).catch(({ type }: { type: string }) => type)),
    );
    expect(endings.filter((ending) => ending !== 'Terminated').length).toBeGreaterThanOrEqual(1);
    expect(await follow({ imageName: name, keep: 3 })).toMatchObject({ imageId: image.id });
    expect(await followOf(name)).toMatchObject({ currentImageId: image.id, keep: 3, problem: null });
    expect(await downloadsOf(image)).toBe(1);
  });

  it('never goes back to an older image when several look at the same time', async () => {
    const name = named();
    const first = await publish({ name });
    await follow({ imageName: name });
    const older = await publish({ name });
    await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: older.id, times: 1_000_000 });
    const slow = refresh({ follow: name });
    await flow.until('the older one to be populating', async () => (await flow.flightOf(older))?.runId ?? false);
    const newest = await publish({ name });
    expect(await follow({ imageName: name })).toMatchObject({ outcome: 'flipped', imageId: newest.id });
    await flow.stack.imageService.clearFaults();
    expect((await slow).follows).toMatchObject([{ outcome: 'current', imageId: newest.id }]);
    expect(await followOf(name)).toMatchObject({ currentImageId: newest.id });
    expect((await flow.entriesOf(first)).length).toBe(0);
  });

  it('that nobody has set is refused by its name, and unfollowing it changes nothing', async () => {
    const refused = from('nothing-of-this-name');
    await expect(refused).rejects.toMatchObject({
      type: 'FollowNotFound',
      exitCode: 3,
      details: { follow: 'nothing-of-this-name', backend: flow.stack.backend, found: 'unknown' },
    });
    await expect(refresh({ follow: 'nothing-of-this-name' })).rejects.toMatchObject({ type: 'FollowNotFound' });
    const { cache, backend } = flow.stack;
    expect(await unfollowImage(cache, { name: 'nothing-of-this-name', backend })).toMatchObject({ outcome: 'absent' });
  });

  it('that is ended while it populates ends its run, and what was cached stays', async () => {
    const name = named();
    const image = await publish({ name });
    await flow.stack.imageService.inject({ kind: 'status-503', on: 'file', imageId: image.id, times: 1_000_000 });
    const following = follow({ imageName: name }).catch((error: unknown) => error);
    await flow.until('the flight to be claimed', async () => (await flow.flightOf(image))?.runId ?? false);
    const { cache, backend } = flow.stack;
    expect(await unfollowImage(cache, { name, backend })).toMatchObject({ outcome: 'removed' });
    expect(await following).toMatchObject({ type: 'Terminated' });
    await flow.stack.imageService.clearFaults();
    await flow.flightHandle(image).result();
    expect(await flow.create(image)).toMatchObject({ outcome: 'hit' });
  });

  it.each<[string, unknown, { field: string; value: string }]>([
    ['nothing', undefined, { field: 'input', value: 'nothing' }],
    ['no name', {}, { field: 'imageName', value: 'nothing' }],
    ['a name that cannot be one of a follow', { imageName: 'a b' }, { field: 'name', value: '"a b"' }],
    ['a path', { imageName: 'x', name: '../x' }, { field: 'name', value: '"../x"' }],
    ['a negative keep', { imageName: 'x', keep: -1 }, { field: 'keep', value: '-1' }],
    ['half of a surrogate pair', { imageName: '\ud800' }, { field: 'imageName', value: '"\\ud800"' }],
    ['tags that are none', { imageName: 'x', tags: 'latest' }, { field: 'tags', value: '"latest"' }],
  ])('refuses %s, and names the field and its value', async (_what, input, details) => {
    const { client, cache } = flow.stack;
    const run = client.workflow.execute('FollowImage', {
      workflowId: `follow/${flow.stack.backend}/${randomUUID()}`,
      taskQueue: cache.queues.control,
      args: input === undefined ? [] : [input],
    });
    await expect(run).rejects.toMatchObject({
      cause: { type: 'InvalidRequest', details: [{ ...details, allowed: expect.any(String) }] },
    });
  });
});
