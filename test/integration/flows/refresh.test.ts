import { randomUUID } from 'node:crypto';
import { warmCache } from '../../../client/refresh';
import { pinEntries } from '../../../db/evictions/evictor';
import type { EntryRow } from '../../../db/schema';
import type { Image } from '../../../workflows/contract/image';
import { expectCleanSlate, useStack } from '../../support/stack/flows';
import { refreshFlows } from '../../support/stack/refresh';

const flow = useStack({ config: { createSafetyInterval: '3s' } });
const { publish, makeSample, refresh, edit, entry, downloadsOf, imageStateOf } = refreshFlows(flow);

const cached = async (image: Image): Promise<EntryRow> => {
  await flow.create(image);
  return await onlyEntryOf(image);
};
const onlyEntryOf = async (image: Image): Promise<EntryRow> => {
  const [found] = await flow.entriesOf(image);
  if (found === undefined) throw new Error(`image ${image.id} is not cached`);
  return found;
};

/** An entry that no clone holds. */
const warmed = async (image: Image): Promise<EntryRow> => {
  await warmCache(flow.stack.cache, { imageIds: [image.id], backends: [flow.stack.backend] }, { wait: true });
  return await onlyEntryOf(image);
};

describe('a refresh', () => {
  // An image that stays: only a service that knows one is believed when others are missing.
  beforeAll(async () => void (await warmed(await publish())));
  afterEach(async () => {
    await flow.stack.imageService.clearFaults();
    await expectCleanSlate(flow.stack);
  });

  it('retires and deletes the entry of an image that is gone', async () => {
    const image = await publish();
    const { id, backend } = await warmed(image);
    await flow.stack.images.deleteImage(image.id);
    const result = await refresh();
    expect(result).toMatchObject({ gone: 1, unanswered: 0, retiredEntries: [id], deletedEntries: 1 });
    expect(await entry(id)).toMatchObject({ state: 'gone', reason: 'image-gone', backend });
    expect(await imageStateOf(image)).toBe('gone');
    expect((await refresh({ imageIds: [image.id] })).imagesAsked).toBe(0);
  });

  it('keeps the entry of two images until the last of them is gone', async () => {
    const sample = await makeSample();
    const [one, two] = [await publish({}, sample), await publish({}, sample)];
    const { id } = await cached(one);
    expect(await flow.create(two)).toMatchObject({ outcome: 'hit' });
    await flow.stack.images.deleteImage(one.id);
    expect(await refresh({ imageIds: [one.id, two.id] })).toMatchObject({ gone: 1, usable: 1, retiredEntries: [] });
    expect(await flow.create(two)).toMatchObject({ outcome: 'hit' });
    await flow.stack.images.deleteImage(two.id);
    expect(await refresh({ imageIds: [one.id, two.id] })).toMatchObject({ gone: 2, retiredEntries: [id] });
    expect((await entry(id))?.state).toMatch(/retired|gone/);
  });

  it('counts a deactivated image as usable again when it is active again', async () => {
    const sample = await makeSample();
    const [one, two] = [await publish({}, sample), await publish({}, sample)];
    const { id } = await cached(one);
    await flow.create(two);
    await flow.stack.images.deactivate(one.id);
    expect(await refresh({ imageIds: [one.id] })).toMatchObject({ deactivated: 1, retiredEntries: [] });
    expect(await imageStateOf(one)).toBe('deactivated');
    await flow.stack.images.reactivate(one.id);
    expect(await refresh({ imageIds: [one.id] })).toMatchObject({ usable: 1 });
    expect(await imageStateOf(one)).toBe('usable');
    await flow.stack.images.deactivate(one.id);
    await flow.stack.images.deactivate(two.id);
    expect(await refresh({ imageIds: [one.id, two.id] })).toMatchObject({ deactivated: 2, retiredEntries: [id] });
  });

  it('leaves a pinned entry, and one that is leased, for later, and says so', async () => {
    const [pinned, leased] = [await publish(), await publish()];
    const [{ id }, { id: leasedId }] = [await cached(pinned), await cached(leased)];
    await pinEntries(flow.stack.database, { target: { entryId: id }, pinned: true, by: 'an operator' });
    const { sql } = flow.stack.database;
    await sql`update volumes set state = 'creating' where entry_id = ${leasedId}`;
    await sql`update volumes set holds_entry = true where entry_id = ${leasedId}`;
    for (const image of [pinned, leased]) await flow.stack.images.deleteImage(image.id);
    const first = await refresh({ imageIds: [pinned.id, leased.id] });
    expect(first).toMatchObject({ gone: 2, retiredEntries: [] });
    expect(first.keptEntries).toEqual(
      expect.arrayContaining([
        { entryId: id, why: 'pinned' },
        { entryId: leasedId, why: 'leased' },
      ]),
    );
    await sql`update cache_entries set clones = 1 where id = ${leasedId}`;
    await sql`update volumes set state = 'available' where entry_id = ${leasedId}`;
    await sql`update cache_entries set pinned = false, pinned_by = null where id = ${id}`;
    const second = await refresh({ imageIds: [pinned.id, leased.id] });
    expect([...second.retiredEntries].sort()).toEqual([id, leasedId].sort());
  });

  it('changes nothing for images that are not answered for, and goes on with the others', async () => {
    const images = [await publish(), await publish(), await publish()];
    for (const image of images) await cached(image);
    const [broken, gone, usable] = images;
    if (!broken || !gone || !usable) throw new Error('three images');
    await flow.stack.images.deleteImage(gone.id);
    await flow.stack.imageService.inject({ kind: 'status-500', on: 'record', imageId: broken.id, times: 1000 });
    const result = await refresh({ imageIds: images.map(({ id }) => id) });
    expect(result).toMatchObject({ imagesAsked: 3, unanswered: 1, gone: 1, usable: 1 });
    expect(await imageStateOf(broken)).toBe('usable');
  });

  it('of edited tags, properties, visibility and hiding downloads nothing, makes no entry and retires none', async () => {
    const image = await publish();
    const { id } = await cached(image);
    await flow.stack.images.addTag(image.id, 'edited');
    await edit(image, [
      { op: 'replace', path: '/visibility', value: 'public' },
      { op: 'add', path: '/os_distro', value: 'debian' },
      { op: 'replace', path: '/os_hidden', value: true },
      { op: 'replace', path: '/name', value: 'renamed' },
    ]);
    expect(await refresh({ imageIds: [image.id] })).toMatchObject({ usable: 1, retiredEntries: [] });
    expect(await flow.create(image)).toMatchObject({ outcome: 'hit' });
    expect(await downloadsOf(image)).toBe(1);
    expect((await flow.entriesOf(image)).map((found) => found.id)).toEqual([id]);
  });

  it('asks again about an image that was taken for gone, so that an error of the service mends itself', async () => {
    const sample = await makeSample();
    const [one, two] = [await publish({}, sample), await publish({}, sample)];
    await cached(one);
    await flow.create(two);
    await flow.stack.database.sql`update entry_images set state = 'gone' where image_id = ${one.id}`;
    expect(await refresh({ imageIds: [one.id] })).toMatchObject({ usable: 1 });
    expect(await imageStateOf(one)).toBe('usable');
  });

  it('goes on where the run that it was continued from was', async () => {
    const images = [await publish(), await publish()].sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const image of images) await warmed(image);
    const [first, second] = images;
    if (!first || !second) throw new Error('two images');
    const before = await refresh({ imageIds: [first.id] });
    const cursor = { afterImageId: first.id, imagesDone: false, result: before };
    const { client, cache } = flow.stack;
    const goOn = (more: object) =>
      client.workflow.execute('RefreshImageCache', {
        workflowId: `${cache.queues.ids.refresh}/continued`,
        taskQueue: cache.queues.control,
        args: [{ imageIds: [first.id, second.id], cursor: { ...cursor, ...more } }],
      });
    expect(await goOn({})).toMatchObject({ imagesAsked: 2, usable: 2 });
    expect(await goOn({ imagesDone: true })).toMatchObject({ imagesAsked: 1, usable: 1 });
  });

  it('goes on where it was when its worker is killed in the middle', async () => {
    const sample = await makeSample();
    const image = await publish({}, sample);
    const { id, backend } = await cached(image);
    // Images that only the inventory knows of: they are gone.
    const COUNT = 60;
    await flow.stack.database.sql`insert into entry_images (entry_id, image_id, project_id)
      select ${id}, '00000000-0000-4000-8000-' || lpad(n::text, 12, '0'), 'default' from generate_series(1, ${COUNT}) n`;
    const refreshing = refresh({ backend, acceptMissing: true });
    const goneSoFar = async (): Promise<number> => {
      const [row] = await flow.stack.database.sql<{ n: number }[]>`
        select count(*)::int as n from entry_images where entry_id = ${id} and state = 'gone'`;
      return row?.n ?? 0;
    };
    await flow.until('a third of the images to be asked for', async () => (await goneSoFar()) >= COUNT / 3);
    const [worker] = flow.stack.workers;
    await worker?.stop('SIGKILL');
    expect(await goneSoFar()).toBeLessThan(COUNT);
    await flow.stack.startWorker();
    const result = await refreshing;
    expect(await goneSoFar()).toBe(COUNT);
    expect(result).toMatchObject({ unanswered: 0, retiredEntries: [] });
    expect(result.gone).toBeGreaterThanOrEqual(COUNT);
    expect(await entry(id)).toMatchObject({ state: 'ready' });
    await flow.stack.database.sql`delete from entry_images where entry_id = ${id} and state = 'gone'`;
  });

  it.each<[string, unknown, { field: string; value: string }]>([
    ['a text', 'all', { field: 'input', value: '"all"' }],
    ['an unknown field', { images: [] }, { field: 'images', value: '[]' }],
    [
      'a cursor of its own making',
      { cursor: { afterImageId: null } },
      { field: 'cursor.imagesDone', value: 'nothing' },
    ],
  ])('refuses %s, and names the field and its value', async (_what, input, details) => {
    const { client, cache } = flow.stack;
    const run = client.workflow.execute('RefreshImageCache', {
      workflowId: `${cache.queues.ids.refresh}/refused-${randomUUID()}`,
      taskQueue: cache.queues.control,
      args: [input],
    });
    await expect(run).rejects.toMatchObject({
      cause: { type: 'InvalidRequest', details: [{ ...details, allowed: expect.any(String) }] },
    });
  });
});
