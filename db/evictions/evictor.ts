import { and, eq, gte, sql, type SQL } from 'drizzle-orm/sql';
import type { BackendName, EntryId, ImageId } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { cacheEntries, type EntryRow } from '../schema';
import { cast, columnsOf, isLiteral, query, readRows, runStatement, uuids } from '../statement';
import type { PinTarget } from '../../workflows/contract/eviction';
import { eventsOf } from '../entries/entry-events';

/** Entries that one request may mean. */
const TARGET_ROWS = 1000;

/** Which entries an operator means. A cache key is a whole short key here. */
export type EntryTarget = { entryId: EntryId } | { imageId: ImageId } | { cacheKey: string };

/** @returns the backend's entries that are meant, in their order of generations, those that are gone included. */
export function findTargets(
  database: Database,
  { backend, target }: { backend: BackendName; target: EntryTarget },
): Promise<EntryRow[]> {
  const { state, shortKey, generation } = cacheEntries;
  const where = and(eq(cacheEntries.backend, backend), meant(target));
  return query(database, (orm) =>
    orm
      .select()
      .from(cacheEntries)
      .where(where)
      .orderBy(isLiteral(state, 'gone'), shortKey, generation)
      .limit(TARGET_ROWS),
  );
}

function meant(target: EntryTarget) {
  if ('entryId' in target) return sql`id = ${target.entryId}`;
  if ('imageId' in target) return sql`id in (select entry_id from entry_images where image_id = ${target.imageId})`;
  return sql`short_key = ${target.cacheKey}`;
}

/** @returns these entries as they are now. */
export function readEntries(database: Database, { entryIds }: { entryIds: EntryId[] }): Promise<EntryRow[]> {
  const where = sql`${cacheEntries.id} = any (${uuids(entryIds)})`;
  return query(database, (orm) => orm.select().from(cacheEntries).where(where));
}

/** @returns entries whose deletion was begun and not confirmed. */
export function listDeleting(
  database: Database,
  { backend, limit }: { backend: BackendName; limit: number },
): Promise<EntryRow[]> {
  const { state, retiredAt, id } = cacheEntries;
  const where = and(eq(cacheEntries.backend, backend), isLiteral(state, 'deleting'));
  return query(database, (orm) => orm.select().from(cacheEntries).where(where).orderBy(retiredAt, id).limit(limit));
}

/** @returns what was deleted for this workflow since an instant. */
export function listGoneSince(
  database: Database,
  { backend, workflowId, since }: { backend: BackendName; workflowId: string; since: Date },
): Promise<EntryRow[]> {
  const { state, reservedFor, goneAt, id } = cacheEntries;
  const where = and(
    eq(cacheEntries.backend, backend),
    isLiteral(state, 'gone'),
    eq(reservedFor, workflowId),
    gte(goneAt, since),
  );
  return query(database, (orm) => orm.select().from(cacheEntries).where(where).orderBy(goneAt, id).limit(TARGET_ROWS));
}

/** Volumes that one statement lets go of: each costs a change of all its indexes, and a statement has seconds. */
const RELEASED_AT_ONCE = 1000;

/**
 * Forgets entries that have been gone for `keptMs`, at most `limit`: by then their uses count nothing.
 * The rows of their volumes, which name them still, let go of them first, batch by batch and at most `mostVolumes`;
 * the next call does the rest. Idempotent.
 * @param onBatch called before each batch; may throw to stop.
 */
export async function forgetGone(
  database: Database,
  request: { backend: BackendName; keptMs: number; limit: number; mostVolumes: number; onBatch?: () => void },
): Promise<void> {
  const entryIds = await listForgettable(database, request);
  if (entryIds.length === 0) return;
  for (let released = 0; released < request.mostVolumes;) {
    request.onBatch?.();
    const most = Math.min(RELEASED_AT_ONCE, request.mostVolumes - released);
    const batch = await releaseVolumes(database, entryIds, most);
    released += batch;
    if (batch < most) break;
  }
  request.onBatch?.();
  await runStatement(
    database,
    sql`delete from cache_entries e where e.id = any (${uuids(entryIds)}) and e.state = 'gone'
      and not exists (select 1 from volumes v where v.entry_id = e.id)`,
  );
}

async function listForgettable(
  database: Database,
  { backend, keptMs, limit }: { backend: BackendName; keptMs: number; limit: number },
): Promise<EntryId[]> {
  const { id, state, goneAt } = cacheEntries;
  const isOld = sql`${goneAt} < now() - ${keptMs}::float8 * interval '1 millisecond'`;
  const where = and(eq(cacheEntries.backend, backend), isLiteral(state, 'gone'), isOld);
  const rows = await query(database, (orm) =>
    orm.select({ id }).from(cacheEntries).where(where).orderBy(id).limit(limit),
  );
  return rows.map((row) => row.id);
}

/** @returns how many rows no longer name one of the entries. A volume that still holds its entry keeps it. */
function releaseVolumes(database: Database, entryIds: EntryId[], limit: number): Promise<number> {
  return runStatement(
    database,
    sql`update volumes set entry_id = null where not holds_entry and id = any (array(
        select id from volumes where entry_id = any (${uuids(entryIds)}) and not holds_entry limit ${limit}
      ))`,
  );
}

/**
 * Keeps ready entries from being chosen as victims, or no longer, and notes who did it in their histories. Repeated it
 * changes nothing. One statement.
 * @param target a cache key is a whole short key here.  @returns how many ready entries are meant, and how many of them
 * changed.
 */
export async function pinEntries(
  database: Database,
  request: {
    backend?: BackendName;
    target: PinTarget;
    pinned: boolean;
    by: string;
    requestId?: string;
    workflowId?: string;
  },
): Promise<{ matched: number; changed: number }> {
  const { backend, target, pinned, by, requestId, workflowId } = request;
  const ofBackend = backend === undefined ? sql`true` : sql`e.backend = ${backend}`;
  const fields = {
    matched: cast.integer(sql`select count(*) from meant`),
    changed: cast.integer(sql`select count(*) from changed`),
  };
  const [row] = await readRows(
    database,
    fields,
    (columns) => sql`with meant as (
        select e.id from cache_entries e where ${ofBackend} and e.state = 'ready' and ${isMeant(target)}
        order by e.id for update
      ), changed as (
        update cache_entries e set pinned = ${pinned}, pinned_by = ${pinned ? by : null} from meant
        where e.id = meant.id and e.state = 'ready' and e.pinned <> ${pinned} returning ${columnsOf(cacheEntries, 'e')}
      ), noted as (${eventsOf(sql`changed`, { kind: pinned ? 'pinned' : 'unpinned', reason: 'requested', detail: `by ${by}`, by, requestId, workflowId })})
      select ${columns}`,
  );
  return row ?? { matched: 0, changed: 0 };
}

function isMeant(target: PinTarget): SQL {
  if ('entryId' in target) return sql`e.id = ${target.entryId}::uuid`;
  if ('cacheKey' in target) return sql`e.short_key = ${target.cacheKey}`;
  return sql`exists (select 1 from entry_images i where i.entry_id = e.id and i.image_id = ${target.imageId})`;
}
