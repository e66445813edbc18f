import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm';
import { findEntry } from '../../../db/entries/entries';
import { pinEntries } from '../../../db/evictions/evictor';
import { listEntryEvents } from '../../../db/entries/entry-events';
import { updateFollowPointer } from '../../../db/follows/follow-flip';
import { retireFormerContents } from '../../../db/follows/follow-surplus';
import {
  findFollow,
  selectFollows,
  noteFollowChecked,
  deleteFollow,
  resolveFollow,
  upsertFollow,
} from '../../../db/follows/follows';
import type { EntryRow, FollowRow } from '../../../db/schema';
import type { ImageId, VolumeId } from '../../../workflows/contract/ids';
import type { FollowSpec } from '../../../workflows/contract/refresh';
import { useInventory } from '../../support/database/database';
import { SOURCE, admitted, BACKEND, cacheKey, leased, readyEntry, registerLocal } from '../../support/database/rows';

const { database } = useInventory(registerLocal);

const workflowId = 'follow/local/debian-12';
const spec: FollowSpec & { by: string } = {
  name: 'debian-12',
  imageName: 'debian-12',
  tags: ['latest'],
  properties: { os_distro: 'debian' },
  backend: BACKEND,
  keep: 0,
  pin: false,
  by: 'an operator',
};
const imageOf = (content: string) => `image of ${content}` as ImageId;

const set = (more: Partial<FollowSpec> = {}): Promise<FollowRow> =>
  upsertFollow(database, { ...spec, ...more, source: SOURCE });

/** Lets the follow match the image of a content and flips to its entry. */
async function flip({ id: followId }: FollowRow, content: string, entry?: EntryRow) {
  const { id: entryId } = entry ?? (await readyEntry(database, cacheKey(content)));
  const imageId = imageOf(content);
  await noteFollowChecked(database, { followId, newestImageId: imageId, problem: null });
  return { entryId, outcome: await updateFollowPointer(database, { followId, imageId, entryId, workflowId }) };
}

const retire = ({ id: followId }: FollowRow) => retireFormerContents(database, { followId, workflowId });
const stateOf = async (entryId: EntryRow['id']) => (await findEntry(database, { entryId }))?.state;

describe('upsertFollow', () => {
  test('sets a follow once for a backend and name, and changes it without losing what it points to', async () => {
    const follow = await set();
    const { by: createdBy, ...same } = spec;
    expect(follow).toMatchObject({ ...same, createdBy, owner: null });
    const { entryId } = await flip(follow, 'first');
    expect(await set()).toMatchObject({ id: follow.id, newestImageId: imageOf('first') });
    const changed = await set({ tags: [], keep: 2 });
    expect(changed).toMatchObject({ id: follow.id, tags: [], keep: 2, currentEntryId: entryId, newestImageId: null });
    expect(await selectFollows(database, { limit: 10 })).toHaveLength(1);
    expect(await selectFollows(database, { name: 'another', limit: 10 })).toEqual([]);
  });
});

describe('resolveFollow', () => {
  const resolve = (volumeId = randomUUID() as VolumeId) =>
    resolveFollow(database, { backend: BACKEND, name: 'debian-12', volumeId });

  test('gives what is ready, else the newest that matched', async () => {
    expect(await resolve()).toEqual({ kind: 'unknown' });
    const follow = await set();
    expect(await resolve()).toEqual({ kind: 'without-image' });
    const newest = { followId: follow.id, newestImageId: imageOf('first'), problem: null };
    await noteFollowChecked(database, newest);
    expect(await resolve()).toEqual({ kind: 'image', imageId: imageOf('first') });
    await flip(follow, 'first');
    await noteFollowChecked(database, { ...newest, newestImageId: imageOf('second') });
    expect(await resolve()).toEqual({ kind: 'image', imageId: imageOf('first') });
    await database.orm.execute(sql`update cache_entries set state = 'retired'`);
    expect(await resolve()).toEqual({ kind: 'image', imageId: imageOf('second') });
  });

  test('gives a volume what it was admitted with, also when the follow is no more', async () => {
    const request = { imageId: 'follow:debian-12' };
    const volume = await admitted(database, cacheKey('first'), { imageId: imageOf('first'), request });
    expect(await resolve(volume.id)).toEqual({ kind: 'image', imageId: imageOf('first') });
    await database.orm.execute(sql`update volumes set state = 'error'`);
    expect(await resolve(volume.id)).toEqual({ kind: 'unknown' });
  });
});

describe('updateFollowPointer', () => {
  test('moves the pointer, supersedes what it pointed to, and is idempotent', async () => {
    const follow = await set();
    const first = await flip(follow, 'first');
    expect(first.outcome).toEqual({ kind: 'current', flipped: true, hasSurplus: false });
    const entry = await readyEntry(database, cacheKey('second'));
    expect((await flip(follow, 'second', entry)).outcome).toEqual({ kind: 'current', flipped: true, hasSurplus: true });
    expect((await flip(follow, 'second', entry)).outcome).toMatchObject({ flipped: false, hasSurplus: true });
    expect(await findFollow(database, { followId: follow.id })).toMatchObject({
      currentEntryId: entry.id,
      currentImageId: imageOf('second'),
      problem: null,
    });
    expect(await findEntry(database, first)).toMatchObject({ state: 'ready', supersededBy: follow.id });
    const events = await listEntryEvents(database, { entryIds: [first.entryId], limit: 10 });
    expect(events.filter(({ kind }) => kind === 'superseded')).toHaveLength(1);
  });

  test('supersedes every generation of what it pointed to, though the one that it named is gone', async () => {
    const follow = await set();
    const first = await flip(follow, 'first');
    await database.orm.execute(
      sql`update cache_entries set state = 'gone', counted = false where id = ${first.entryId}`,
    );
    const next = await readyEntry(database, cacheKey('first'));
    await flip(follow, 'second');
    expect(await findEntry(database, { entryId: next.id })).toMatchObject({ generation: 2, supersededBy: follow.id });
  });

  test('takes back that a content is superseded when it is the newest again', async () => {
    const follow = await set({ keep: 1 });
    const first = await readyEntry(database, cacheKey('first'));
    await flip(follow, 'first', first);
    await flip(follow, 'second');
    await flip(follow, 'first', first);
    expect(await findEntry(database, { entryId: first.id })).toMatchObject({ supersededAt: null, supersededBy: null });
  });

  test('does not move when the entry is not ready, or something else is the newest by now', async () => {
    const follow = await set();
    const entry = await readyEntry(database, cacheKey('first'));
    await flip(follow, 'first', entry);
    const next = await readyEntry(database, cacheKey('second'));
    const flipping = { followId: follow.id, imageId: imageOf('second'), entryId: next.id, workflowId };
    expect(await updateFollowPointer(database, flipping)).toEqual({ kind: 'lost' });
    await database.orm.execute(sql`update cache_entries set state = 'retired' where id = ${next.id}`);
    expect((await flip(follow, 'second', next)).outcome).toEqual({ kind: 'lost' });
    expect(await findFollow(database, { followId: follow.id })).toMatchObject({ currentEntryId: entry.id });
    await deleteFollow(database, { backend: BACKEND, name: follow.name, source: SOURCE });
    expect(await updateFollowPointer(database, flipping)).toEqual({ kind: 'unfollowed' });
  });

  test('moves its pin along, and leaves those of others alone', async () => {
    const follow = await set({ pin: true, keep: 2 });
    const first = await flip(follow, 'first');
    expect(await findEntry(database, first)).toMatchObject({ pinned: true, pinnedBy: 'follow:debian-12' });
    const entry = await readyEntry(database, cacheKey('second'));
    await pinEntries(database, { target: { entryId: entry.id }, pinned: true, by: 'an operator' });
    await flip(follow, 'second', entry);
    expect(await findEntry(database, first)).toMatchObject({ pinned: false, pinnedBy: null });
    expect(await findEntry(database, { entryId: entry.id })).toMatchObject({ pinnedBy: 'an operator' });
  });

  test('of two follows at once never retires a content that one of them has just come to', async () => {
    const [one, two] = [await set({ name: 'one' }), await set({ name: 'two' })];
    const shared = await readyEntry(database, cacheKey('shared'));
    await flip(one, 'shared', shared);
    const [next] = [await readyEntry(database, cacheKey('next'))];
    const outcomes = await Promise.all([flip(one, 'next', next).then(() => retire(one)), flip(two, 'shared', shared)]);
    const pointsToShared = outcomes[1].outcome.kind === 'current';
    expect(await stateOf(shared.id)).toBe(pointsToShared ? 'ready' : 'retired');
  });
});

describe('retireFormerContents', () => {
  test('retires contents beyond those that are kept, the oldest, and tells again what is free', async () => {
    const follow = await set({ keep: 1 });
    const ids = [];
    for (const content of ['a', 'b', 'c', 'd']) ids.push((await flip(follow, content)).entryId);
    const { retired, free } = await retire(follow);
    expect([...retired].sort()).toEqual(ids.slice(0, 2).sort());
    expect(free).toHaveLength(2);
    expect(await retire(follow)).toEqual({ retired: [], free });
    expect(await Promise.all(ids.map(stateOf))).toEqual(['retired', 'retired', 'ready', 'ready']);
  });

  test('leaves what is leased, awaited, pinned, or followed by another', async () => {
    const [follow, other] = [await set(), await set({ name: 'other' })];
    const leasedEntry = await readyEntry(database, cacheKey('leased'));
    await flip(follow, 'leased', leasedEntry);
    await leased(database, cacheKey('leased'));
    await flip(follow, 'awaited');
    await admitted(database, cacheKey('awaited'));
    const pinned = await flip(follow, 'pinned');
    await pinEntries(database, { target: { entryId: pinned.entryId }, pinned: true, by: 'an operator' });
    const followed = await readyEntry(database, cacheKey('followed'));
    await flip(follow, 'followed', followed);
    await flip(follow, 'last');
    await flip(other, 'followed', followed);
    expect((await retire(follow)).retired).toEqual([]);
    await database.orm.execute(sql`update volumes set state = 'error'`);
    expect((await retire(follow)).retired).toHaveLength(2);
    expect(await stateOf(followed.id)).toBe('ready');
  });
});

describe('deleteFollow', () => {
  test('unpins what was pinned for it, and is done when there is none', async () => {
    const follow = await set({ pin: true });
    const first = await flip(follow, 'first');
    const removing = { backend: BACKEND, name: follow.name, source: SOURCE };
    expect(await deleteFollow(database, removing)).toBe(true);
    expect(await findEntry(database, first)).toMatchObject({ pinned: false, state: 'ready' });
    // A run whose reply was lost is told so again; another is not.
    expect(await deleteFollow(database, removing)).toBe(true);
    expect(await deleteFollow(database, { ...removing, source: { ...SOURCE, runId: 'run 2' } })).toBe(false);
  });
});
