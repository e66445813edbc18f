import { sql } from 'drizzle-orm';
import type { BackendName, EntryId } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { runStatement, uuids, type Queryable } from '../statement';

export interface CacheSums {
  /** What counts against `maxBytes`: populating, ready, and what was marked for deletion but is not confirmed gone. */
  bytes: number;
  /** What counts against `maxCount`. */
  count: number;
  /** Of `bytes`, what running populations have reserved. */
  reservedBytes: number;
  /** Retired parents that live clones hold; outside of the limits. */
  pinnedBytes: number;
}

/** @returns the sums of one backend's cache; they hold only under the lock of its row, else they are a view of a moment. */
export function sums(database: Database, { backend }: { backend: BackendName }): Promise<CacheSums> {
  return readSums(database, backend);
}

export async function readSums(on: Queryable, backend: BackendName): Promise<CacheSums> {
  const [row] = await runStatement<CacheSums & Record<string, unknown>>(
    on,
    sql`select
        coalesce(sum(real_bytes) filter (where counted), 0)::bigint as bytes,
        count(*) filter (where counted) as count,
        coalesce(sum(real_bytes) filter (where state = 'populating'), 0)::bigint as "reservedBytes",
        coalesce(sum(real_bytes) filter (where not counted), 0)::bigint as "pinnedBytes"
      from cache_entries where backend = ${backend} and state <> 'gone'`,
  );
  return row ? { ...row } : { bytes: 0, count: 0, reservedBytes: 0, pinnedBytes: 0 };
}

/** @returns those of the entries that a create holds: asked in a statement of its own, after the entries were locked. */
export async function findLeased(on: Queryable, entryIds: EntryId[]): Promise<Set<EntryId>> {
  if (entryIds.length === 0) return new Set();
  const rows = await runStatement<{ entry_id: EntryId }>(
    on,
    sql`select distinct entry_id from volumes where entry_id = any (${uuids(entryIds)}) and holds_entry and state in ('creating', 'deleting')
      and (state = 'creating' or (state = 'deleting' and state_before_delete = 'creating'))`,
  );
  return new Set(rows.map((row) => row.entry_id));
}
