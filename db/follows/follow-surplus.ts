import { and, eq, sql, type SQL } from 'drizzle-orm/sql';
import type { EntryId, FollowId } from '../../workflows/contract/ids';
import type { FreedEntry } from '../../workflows/contract/population';
import type { Database } from '../client';
import { cacheEntries, follows, type EntryRow, type FollowRow } from '../schema';
import {
  columnsOf,
  inTransaction,
  isLiteral,
  query,
  readRows,
  readTable,
  runStatement,
  uuids,
  type Queryable,
} from '../statement';
import { findLeased } from '../entries/entries';
import { eventsOf } from '../entries/entry-events';
import { pinnedByFollow } from './follows';
import { retired } from '../entries/retirement';

export interface RetiredContents {
  /** Retired by this call. */
  retired: EntryId[];
  /** Retired, and nothing holds them: their image-volumes may be deleted. */
  free: FreedEntry[];
}

/**
 * Retires the contents that the follow has superseded and that more than `keep` newer ones stand before, but for what
 * is leased, awaited by a create, pinned, or followed by another. Idempotent: the free ones are told again.
 */
export function retireFormerContents(
  database: Database,
  { followId, workflowId }: { followId: FollowId; workflowId: string },
): Promise<RetiredContents> {
  return inTransaction(database, async (transaction) => {
    const follow = await lockFollow(transaction, followId);
    if (!follow) return { retired: [], free: [] };
    const candidates = await lockReady(transaction, follow);
    const gone = await retire(transaction, { follow, candidates, workflowId });
    return { retired: gone, free: await findFree(transaction, follow) };
  });
}

/** Locked, a follow's pointer stays what it is until the transaction ends. */
export async function lockFollow(transaction: Queryable, followId: FollowId): Promise<FollowRow | undefined> {
  const [row] = await readTable(
    transaction,
    follows,
    (columns) => sql`select ${columns} from follows where id = ${followId} for update`,
  );
  return row;
}

/** Another follow points to the content of the entry `e`: true only of locked entries. */
export function isFollowed(follow: FollowRow): SQL {
  return sql`exists (select 1 from follows o join cache_entries c on c.id = o.current_entry_id
    where o.id <> ${follow.id} and o.backend = e.backend and c.short_key = e.short_key)`;
}

/** @returns whether `retireFormerContents` may have something to do. */
export async function hasSurplus(transaction: Queryable, follow: FollowRow): Promise<boolean> {
  const surplus = await runStatement(
    transaction,
    sql`select 1 where exists (select 1 from (${generations(follow)}) g where g.age > ${follow.keep}::int)
      or exists (select 1 from cache_entries where backend = ${follow.backend} and superseded_by = ${follow.id} and state = 'retired' and clones = 0)`,
  );
  return surplus > 0;
}

/** Former contents by age; all entries of one were superseded in one statement, at one time. */
function generations({ backend, id }: FollowRow): SQL {
  return sql`select id, dense_rank() over (order by superseded_at desc) as age from cache_entries
    where backend = ${backend} and superseded_by = ${id} and superseded_at is not null and state = 'ready'`;
}

function lockReady(transaction: Queryable, follow: FollowRow): Promise<EntryRow[]> {
  return readTable(
    transaction,
    cacheEntries,
    (columns) => sql`select ${columns} from cache_entries
      where backend = ${follow.backend} and superseded_by = ${follow.id} and state = 'ready' order by id for update`,
  );
}

async function retire(
  transaction: Queryable,
  { follow, candidates, workflowId }: { follow: FollowRow; candidates: EntryRow[]; workflowId: string },
): Promise<EntryId[]> {
  const ids = candidates.map(({ id }) => id);
  const leased = await findLeased(transaction, ids);
  const rows = await readRows(
    transaction,
    { id: cacheEntries.id },
    (columns) => sql`with former as (${generations(follow)}), changed as (
        update cache_entries e set ${retired('superseded')}, reason_detail = ${`${pinnedByFollow(follow.name)} moved on`}
        from former g where g.id = e.id and g.age > ${follow.keep}::int
          and e.id = any (${uuids(ids.filter((id) => !leased.has(id)))}) and not e.pinned and e.state = 'ready' and not ${isFollowed(follow)}
          and not exists (select 1 from volumes v where v.backend = e.backend and v.short_key = e.short_key and v.state = 'creating')
        returning ${columnsOf(cacheEntries, 'e')}
      ), noted as (${eventsOf('changed', { kind: 'retired', workflowId })})
      select ${columns} from changed`,
  );
  return rows.map(({ id }) => id);
}

function findFree(transaction: Queryable, follow: FollowRow): Promise<FreedEntry[]> {
  const { id: entryId, imageVolume, backend, supersededBy, state, clones } = cacheEntries;
  const isOfFollow = and(eq(backend, follow.backend), eq(supersededBy, follow.id));
  const where = and(isOfFollow, isLiteral(state, 'retired'), eq(clones, 0));
  return query(transaction, (orm) =>
    orm.select({ entryId, imageVolume, backend }).from(cacheEntries).where(where).orderBy(entryId),
  );
}
