import { sql } from 'drizzle-orm';
import { findEntry } from '../../../db/entries/entries';
import {
  listImagesBehindEntries,
  noteImageState,
  retireUnusableEntries,
  addImageToReady,
} from '../../../db/entries/entry-images';
import { listEntryEvents } from '../../../db/entries/entry-events';
import { acquireEntry } from '../../../db/acquire';
import type { EntryId, ImageId } from '../../../workflows/contract/ids';
import { useInventory } from '../../support/database/database';
import {
  admitted,
  BACKEND,
  cacheKey,
  IMAGE,
  leased,
  PROJECT,
  readyEntry,
  registerLocal,
  acquirement,
} from '../../support/database/rows';
import { holding, openTransaction, untilBlocked } from './locks';
import { pinEntries } from '../../../db/evictions/evictor';
import { retireEntry } from '../../../db/entries/retirement';

const { database, url } = useInventory(registerLocal);

const key = cacheKey('debian 12');
const OTHER = 'a9c3f1de-0000-4000-8000-000000000002' as ImageId;
const workflowId = 'refresh-image-cache';
const gone = (imageId: ImageId) => noteImageState(database, { imageId, state: 'gone' });
const retire = (imageId: ImageId) => retireUnusableEntries(database, { imageId, workflowId });
const serve = (entryId: EntryId, imageId: ImageId) =>
  database.orm.execute(
    sql`insert into entry_images (entry_id, image_id, project_id) values (${entryId}, ${imageId}, ${PROJECT})`,
  );

describe('retireUnusableEntries', () => {
  test('retires an entry whose last usable image is gone, once, and tells again what is free', async () => {
    const { id, imageVolume } = await readyEntry(database, key);
    await serve(id, OTHER);
    await gone(IMAGE);
    expect(await retire(IMAGE)).toEqual({ retired: [], free: [], kept: [] });
    await noteImageState(database, { imageId: OTHER, state: 'deactivated' });
    const free = [{ entryId: id, imageVolume, backend: BACKEND }];
    expect(await retire(OTHER)).toEqual({ retired: [id], free, kept: [] });
    expect(await retire(OTHER)).toEqual({ retired: [], free, kept: [] });
    expect(await findEntry(database, { entryId: id })).toMatchObject({ state: 'retired', reason: 'image-gone' });
    const events = await listEntryEvents(database, { entryIds: [id], limit: 10 });
    expect(events.filter(({ kind }) => kind === 'retired')).toMatchObject([{ reason: 'image-gone', workflowId }]);
  });

  test('keeps what is leased or pinned', async () => {
    const { entryId } = await readyEntry(database, key).then(() => leased(database, key));
    const pinned = await readyEntry(database, cacheKey('pinned'));
    await pinEntries(database, { target: { entryId: pinned.id }, pinned: true, by: 'an operator' });
    await gone(IMAGE);
    const { kept, retired } = await retire(IMAGE);
    expect(retired).toEqual([]);
    expect(kept).toHaveLength(2);
    expect(kept).toEqual(
      expect.arrayContaining([
        { entryId, why: 'leased' },
        { entryId: pinned.id, why: 'pinned' },
      ]),
    );
  });

  test('that waits for an acquire sees its lease', async () => {
    const { id } = await readyEntry(database, key);
    const volume = await admitted(database, key);
    await gone(IMAGE);
    const acquire = await openTransaction(url);
    const acquired = await acquireEntry(acquire.database, acquirement(volume, key));
    expect(acquired).toMatchObject({ kind: 'leased' });
    const retiring = retire(IMAGE);
    await untilBlocked(database, { text: 'for update' });
    await acquire.commit();
    // The create that has just asked the image service knows better: the image serves again.
    expect(await retiring).toEqual({ retired: [], free: [], kept: [] });
    expect(await findEntry(database, { entryId: id })).toMatchObject({ state: 'ready', clones: 1 });
  });

  test('lets an acquire that waits for it go cold', async () => {
    await readyEntry(database, key);
    const volume = await admitted(database, key);
    await gone(IMAGE);
    const lock = await holding(url, sql`lock table volumes in access exclusive mode`);
    const retiring = retire(IMAGE);
    await untilBlocked(database, { text: 'select distinct "entry_id"' });
    const acquire = acquireEntry(database, acquirement(volume, key));
    await untilBlocked(database, { count: 2 });
    await lock.commit();
    expect((await retiring).retired).toHaveLength(1);
    expect(await acquire).toMatchObject({ kind: 'cold' });
  });
});

describe('listImagesBehindEntries', () => {
  test('pages over the images of entries that a create could get, and of what is retired and free', async () => {
    const ready = await readyEntry(database, key);
    const retired = await readyEntry(database, cacheKey('retired'));
    await serve(ready.id, OTHER);
    await serve(retired.id, 'b' as ImageId);
    await retireEntry(database, { entryId: retired.id, reason: 'superseded' });
    const page = (more: object = {}) => listImagesBehindEntries(database, { afterImageId: null, limit: 10, ...more });
    expect(await page()).toEqual([IMAGE, OTHER, 'b']);
    expect(await page({ limit: 2 })).toEqual([IMAGE, OTHER]);
    expect(await page({ afterImageId: OTHER })).toEqual(['b']);
    expect(await page({ imageIds: [OTHER, 'nothing'] })).toEqual([OTHER]);
    expect(await page({ backend: 'another' })).toEqual([]);
    await database.orm.execute(sql`update cache_entries set clones = 1 where id = ${retired.id}`);
    expect(await page()).toEqual([IMAGE, OTHER]);
  });
});

describe('addImageToReady', () => {
  test('gives a ready entry with room, which then serves the image', async () => {
    const asked = { backend: BACKEND, key, imageId: OTHER, projectId: PROJECT };
    expect(await addImageToReady(database, asked)).toBeUndefined();
    const { id } = await readyEntry(database, key);
    expect(await addImageToReady(database, asked)).toBe(id);
    expect(await addImageToReady(database, asked)).toBe(id);
    expect(await listImagesBehindEntries(database, { afterImageId: null, limit: 10 })).toEqual([IMAGE, OTHER]);
    await database.orm.execute(sql`update backends set clone_limit = 1`);
    await database.orm.execute(sql`update cache_entries set clones = 1`);
    expect(await addImageToReady(database, asked)).toBeUndefined();
  });
});
