import { eq, sql, type SQL } from 'drizzle-orm/sql';
import type { BackendName, EntryId, ImageId } from '../../workflows/contract/ids';
import { readDatabaseTime } from '../clock';
import { cacheEntries, entryImages, follows, type BackendRow, type EntryRow } from '../schema';
import { cast, query, readRows, readTable, uuids, type Queryable } from '../statement';
import { findLeased, readSums, type CacheSums } from '../entries/entries';

/** A possible victim, and the facts that decide about it. */
export interface EvictionCandidate {
  entry: EntryRow;
  /** A create holds a lease on it. */
  leased: boolean;
  /** Creates that waited for its population have not acquired it yet. */
  awaited: boolean;
  images: { imageId: ImageId; usable: boolean }[];
}

/**
 * Everything that a choice of victims depends on. With the backend's row and the candidates locked it holds until the
 * transaction ends.
 */
export interface EvictionView {
  now: Date;
  backend: BackendRow;
  used: CacheSums;
  candidates: EvictionCandidate[];
  /** Generations that each follow of the backend keeps. */
  keepOfFollow: ReadonlyMap<string, number>;
}

export interface ViewRequest {
  backend: BackendRow;
  /** Candidates whatever their rank. */
  entryIds?: EntryId[];
  /** Whether parents that live clones hold are candidates too. */
  withHeld?: boolean;
  /** Whether idle ones are read too: no index finds them. */
  withIdle?: boolean;
  /** Entries of each kind, those of the lowest rank. */
  scanRows: number;
  lock: boolean;
  /** Sums that were read under the same lock already: they are the slowest part in a large cache. */
  used?: CacheSums;
}

/**
 * Locks first, then reads leases and waiters: those statements see what was committed while the locks were waited for.
 */
export async function readEvictionView(on: Queryable, request: ViewRequest): Promise<EvictionView> {
  const { backend, lock } = request;
  const entries = await readTable(
    on,
    cacheEntries,
    (columns) => sql`select ${columns} from cache_entries where id = any (array(${candidateIds(request)}))
      order by id ${lock ? sql`for update` : sql``}`,
  );
  return {
    now: await readDatabaseTime(on),
    backend,
    candidates: await withFacts(on, entries),
    used: request.used ?? (await readSums(on, { backend: backend.name })),
    keepOfFollow: await readKeepOfFollow(on, backend.name),
  };
}

/** The lowest of the rank that an index knows, and the few that partial indexes find. */
function candidateIds({ backend, entryIds = [], withHeld, withIdle, scanRows }: ViewRequest): SQL {
  const ready = sql`backend = ${backend.name} and state = 'ready'`;
  // `priority` is what the last sweep has seen; the policy works it out anew for those that are read.
  const byRank = backend.policy === 'lru' ? sql`coalesce(last_used_at, created_at), id` : sql`priority`;
  const limit = sql`limit ${scanRows}`;
  const kinds = [
    sql`(select id from cache_entries where backend = ${backend.name} and state = 'retired' and clones = 0 ${limit})`,
    sql`(select id from cache_entries where ${ready} and clones = 0 and not pinned order by ${byRank} ${limit})`,
    sql`(select id from cache_entries where ${ready} and superseded_at is not null order by superseded_at ${limit})`,
    sql`(select e.id from cache_entries e where e.id in (select i.entry_id from entry_images i where i.state <> 'usable')
      and e.backend = ${backend.name} and e.state = 'ready' ${limit})`,
    sql`(select unnest(${uuids(entryIds)}))`,
  ];
  if (withHeld)
    kinds.push(
      sql`(select id from cache_entries where ${ready} and clones > 0 and not pinned order by ${byRank} ${limit})`,
    );
  if (withIdle && backend.idleAgeMs !== null)
    kinds.push(sql`(select id from cache_entries where ${ready} and clones = 0
      and coalesce(last_used_at, created_at) <= now() - ${backend.idleAgeMs}::float8 * interval '1 millisecond' ${limit})`);
  return sql.join(kinds, sql` union `);
}

/** @returns the same entries with what other tables say of them. */
export async function withFacts(on: Queryable, entries: EntryRow[]): Promise<EvictionCandidate[]> {
  const ids = entries.map(({ id }) => id);
  const leased = await findLeased(on, ids);
  const awaited = await findAwaited(on, ids);
  const images = await readImages(on, ids);
  return entries.map((entry) => ({
    entry,
    leased: leased.has(entry.id),
    awaited: awaited.has(entry.id),
    images: images.get(entry.id) ?? [],
  }));
}

/** A volume waits until it has acquired what its flight has made: that is the entry's grace. */
async function findAwaited(on: Queryable, entryIds: EntryId[]): Promise<Set<EntryId>> {
  if (entryIds.length === 0) return new Set();
  const rows = await readRows(
    on,
    { id: cacheEntries.id },
    (
      columns,
    ) => sql`select ${columns} from cache_entries e where e.id = any (${uuids(entryIds)}) and e.state = 'ready' and exists (
        select 1 from volumes v where v.backend = e.backend and v.short_key = e.short_key and v.waits_for_flight = e.flight and v.state = 'creating')`,
  );
  return new Set(rows.map(({ id }) => id));
}

async function readImages(
  on: Queryable,
  entryIds: EntryId[],
): Promise<Map<EntryId, { imageId: ImageId; usable: boolean }[]>> {
  const images = new Map<EntryId, { imageId: ImageId; usable: boolean }[]>();
  if (entryIds.length === 0) return images;
  const { entryId: ofEntry, imageId, state } = entryImages;
  const usable = cast.boolean(sql`${state} = 'usable'`);
  const where = sql`${ofEntry} = any (${uuids(entryIds)})`;
  const rows = await query(on, (orm) =>
    orm.select({ ofEntry, imageId, usable }).from(entryImages).where(where).orderBy(ofEntry, imageId),
  );
  for (const { ofEntry: entryId, ...image } of rows) images.set(entryId, [...(images.get(entryId) ?? []), image]);
  return images;
}

async function readKeepOfFollow(on: Queryable, backend: BackendName): Promise<Map<string, number>> {
  const rows = await query(on, (orm) => orm.select().from(follows).where(eq(follows.backend, backend)));
  return new Map(rows.map(({ id, keep }) => [id, keep]));
}
