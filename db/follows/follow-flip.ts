import { and, eq, isNotNull, sql } from 'drizzle-orm/sql';
import type { EntryId, FollowId, ImageId } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { cacheEntries, follows, type EntryRow, type FollowRow } from '../schema';
import {
  columnsOf,
  inTransaction,
  isLiteral,
  query,
  readTable,
  runStatement,
  uuids,
  type Queryable,
  transactionTime,
} from '../statement';
import { findEntry } from '../entries/entries';
import { eventsOf } from '../entries/entry-events';
import { hasSurplus, isFollowed, lockFollow } from './follow-surplus';
import { pinnedByFollow } from './follows';

export interface FlipRequest {
  followId: FollowId;
  imageId: ImageId;
  /** The ready entry of that image. */
  entryId: EntryId;
  workflowId: string;
}

export type FlipOutcome =
  | {
      kind: 'current';
      /** The pointer has moved by this call. */
      flipped: boolean;
      /** Former content is there that need not stay: `retireFormerContents`. */
      hasSurplus: boolean;
    }
  /** The entry is no longer ready, or another look has found another newest image since: look again. */
  | { kind: 'lost' }
  /** The follow is no more. */
  | { kind: 'unfollowed' };

/**
 * Moves the follow's pointer to an entry that is ready; its former content is superseded, unless another follow points
 * to that. Idempotent.
 */
export function updateFollowPointer(database: Database, request: FlipRequest): Promise<FlipOutcome> {
  return inTransaction(database, async (transaction) => {
    const follow = await lockFollow(transaction, request.followId);
    if (!follow) return { kind: 'unfollowed' };
    // Another check has found a newer image since: the pointer never goes back.
    if (follow.newestImageId !== request.imageId) return { kind: 'lost' };
    const locked = await lockEntries(transaction, { follow, request });
    const next = locked.find(({ id }) => id === request.entryId);
    if (next?.state !== 'ready') return { kind: 'lost' };
    const flipped = await movePointer(transaction, { follow, request });
    const flip: Flip = { ...request, follow, locked, next };
    await supersede(transaction, flip);
    await movePins(transaction, flip);
    return { kind: 'current', flipped, hasSurplus: await hasSurplus(transaction, follow) };
  });
}

interface Flip extends FlipRequest {
  follow: FollowRow;
  locked: EntryRow[];
  next: EntryRow;
}

/** Everything that may change: the next one, what the follow points to and pins, and what it has superseded. */
function lockEntries(
  transaction: Queryable,
  { follow, request }: { follow: FollowRow; request: FlipRequest },
): Promise<EntryRow[]> {
  return readTable(
    transaction,
    cacheEntries,
    (columns) => sql`select ${columns} from cache_entries e
      where e.backend = ${follow.backend} and e.state in ('ready', 'retired') and (e.id = ${request.entryId} or e.superseded_by = ${follow.id}
        or e.pinned_by = ${pinnedByFollow(follow.name)} or e.short_key = (select short_key from cache_entries where id = ${follow.currentEntryId}))
      order by e.id for update`,
  );
}

async function movePointer(
  transaction: Queryable,
  { follow, request }: { follow: FollowRow; request: FlipRequest },
): Promise<boolean> {
  const flipped = follow.currentImageId !== request.imageId;
  const pointer = { currentImageId: request.imageId, currentEntryId: request.entryId };
  const currentSince = flipped ? sql`now()` : sql`coalesce(current_since, now())`;
  await query(transaction, (orm) =>
    orm
      .update(follows)
      .set({ ...pointer, currentSince, checkedAt: transactionTime, problem: null })
      .where(eq(follows.id, follow.id)),
  );
  return flipped;
}

async function supersede(transaction: Queryable, { follow, locked, next, workflowId }: Flip): Promise<void> {
  const { backend, shortKey, supersededAt, state } = cacheEntries;
  const isNext = and(eq(backend, follow.backend), eq(shortKey, next.shortKey));
  const where = and(isNext, isNotNull(supersededAt), isLiteral(state, 'ready'));
  await query(transaction, (orm) =>
    orm.update(cacheEntries).set({ supersededAt: null, supersededBy: null }).where(where),
  );
  const former = await findShortKey(transaction, follow);
  const ids = locked.filter((e) => e.shortKey === former && e.shortKey !== next.shortKey).map(({ id }) => id);
  if (ids.length === 0) return;
  await runStatement(
    transaction,
    sql`with changed as (
        update cache_entries e set superseded_at = now(), superseded_by = ${follow.id}
        where e.id = any (${uuids(ids)}) and e.state = 'ready' and e.superseded_at is null and not ${isFollowed(follow)}
        returning ${columnsOf(cacheEntries)}
      ) ${eventsOf('changed', { kind: 'superseded', reason: pinnedByFollow(follow.name), workflowId })}`,
  );
}

/** Of what the follow pointed to: its entry may be gone while further generations of that content are ready. */
async function findShortKey(transaction: Queryable, { currentEntryId }: FollowRow): Promise<string | undefined> {
  if (currentEntryId === null) return undefined;
  return (await findEntry(transaction, { entryId: currentEntryId }))?.shortKey;
}

/** An operator's pin stays. */
async function movePins(transaction: Queryable, { follow, next, workflowId }: Flip): Promise<void> {
  const by = pinnedByFollow(follow.name);
  await runStatement(
    transaction,
    sql`with changed as (
        update cache_entries set pinned = false, pinned_by = null
        where backend = ${follow.backend} and pinned_by = ${by} and (id <> ${next.id} or not ${follow.pin}) returning ${columnsOf(cacheEntries)}
      ) ${eventsOf('changed', { kind: 'unpinned', reason: by, workflowId })}`,
  );
  if (!follow.pin) return;
  await runStatement(
    transaction,
    sql`with changed as (
        update cache_entries set pinned = true, pinned_by = ${by} where id = ${next.id} and not pinned returning ${columnsOf(cacheEntries)}
      ) ${eventsOf('changed', { kind: 'pinned', reason: by, workflowId })}`,
  );
}
