import { sql } from 'drizzle-orm';
import type { EntryId, FollowId, ImageId } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { cacheEntries, type EntryRow, type FollowRow } from '../schema';
import { columnsOf, inTransaction, parseRow, runStatement, uuids, type Queryable } from '../statement';
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

/** Moves the follow's pointer to an entry that is ready; what it pointed to is superseded, unless another follow points to that content. Idempotent. */
export function updateFollowPointer(database: Database, request: FlipRequest): Promise<FlipOutcome> {
  return inTransaction(database, async (transaction) => {
    const follow = await lockFollow(transaction, request.followId);
    if (!follow) return { kind: 'unfollowed' };
    // Of two looks at the same time the later one holds: the pointer never goes back to what was the newest before.
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
async function lockEntries(
  transaction: Queryable,
  { follow, request }: { follow: FollowRow; request: FlipRequest },
): Promise<EntryRow[]> {
  const rows = await runStatement(
    transaction,
    sql`select ${columnsOf(cacheEntries, 'e')} from cache_entries e
      where e.backend = ${follow.backend} and e.state in ('ready', 'retired') and (e.id = ${request.entryId} or e.superseded_by = ${follow.id}
        or e.pinned_by = ${pinnedByFollow(follow.name)} or e.short_key = (select short_key from cache_entries where id = ${follow.currentEntryId}))
      order by e.id for update`,
  );
  return rows.map((row) => parseRow(cacheEntries, row));
}

async function movePointer(
  transaction: Queryable,
  { follow, request }: { follow: FollowRow; request: FlipRequest },
): Promise<boolean> {
  const flipped = follow.currentImageId !== request.imageId;
  await runStatement(
    transaction,
    sql`update follows set current_image_id = ${request.imageId}, current_entry_id = ${request.entryId}, checked_at = now(), problem = null,
        current_since = ${flipped ? sql`now()` : sql`coalesce(current_since, now())`} where id = ${follow.id}`,
  );
  return flipped;
}

async function supersede(transaction: Queryable, { follow, locked, next, workflowId }: Flip): Promise<void> {
  await runStatement(
    transaction,
    sql`update cache_entries set superseded_at = null, superseded_by = null
      where backend = ${follow.backend} and short_key = ${next.shortKey} and superseded_at is not null and state = 'ready'`,
  );
  const former = await findShortKey(transaction, follow);
  const ids = locked.filter(({ shortKey }) => shortKey === former && shortKey !== next.shortKey).map(({ id }) => id);
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
  const [row] = await runStatement<{ short_key: string }>(
    transaction,
    sql`select short_key from cache_entries where id = ${currentEntryId}`,
  );
  return row?.short_key;
}

/** What an operator has pinned stays his. */
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
