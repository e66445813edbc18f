import { sql } from 'drizzle-orm';
import type { BackendName, EntryId, ImageId } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { cacheEntries } from '../schema';
import { columnsOf, parseRow, runStatement, uuids } from '../statement';
import type { EntryRow } from '../types';

/** Entries that one request may mean. */
const TARGET_ROWS = 1000;

/** Which entries an operator means. A cache key may be short, or the beginning of a short one. */
export type EntryTarget = { entryId: EntryId } | { imageId: ImageId } | { cacheKey: string };

/** @returns the backend's entries that are meant, in their order of generations, those that are gone included. */
export async function findTargets(
  database: Database,
  { backend, target }: { backend: BackendName; target: EntryTarget },
): Promise<EntryRow[]> {
  const rows = await runStatement(
    database,
    sql`select ${columnsOf(cacheEntries)} from cache_entries where backend = ${backend} and ${meant(target)}
      order by (state = 'gone'), short_key, generation limit ${TARGET_ROWS}`,
  );
  return rows.map((row) => parseRow(cacheEntries, row));
}

function meant(target: EntryTarget) {
  if ('entryId' in target) return sql`id = ${target.entryId}`;
  if ('imageId' in target) return sql`id in (select entry_id from entry_images where image_id = ${target.imageId})`;
  return sql`left(short_key, ${target.cacheKey.length}::int) = ${target.cacheKey}`;
}

/** @returns these entries as they are now. */
export async function readEntries(database: Database, { entryIds }: { entryIds: EntryId[] }): Promise<EntryRow[]> {
  if (entryIds.length === 0) return [];
  const rows = await runStatement(
    database,
    sql`select ${columnsOf(cacheEntries)} from cache_entries where id = any (${uuids(entryIds)})`,
  );
  return rows.map((row) => parseRow(cacheEntries, row));
}

/** @returns entries whose deletion was begun and not confirmed: who began it may be at it, or dead. */
export async function listDeleting(
  database: Database,
  { backend, limit }: { backend: BackendName; limit: number },
): Promise<EntryRow[]> {
  const rows = await runStatement(
    database,
    sql`select ${columnsOf(cacheEntries)} from cache_entries where backend = ${backend} and state = 'deleting' order by retired_at, id limit ${limit}`,
  );
  return rows.map((row) => parseRow(cacheEntries, row));
}

/** @returns what was deleted for this workflow since an instant. */
export async function listGoneSince(
  database: Database,
  { backend, workflowId, since }: { backend: BackendName; workflowId: string; since: Date },
): Promise<EntryRow[]> {
  const rows = await runStatement(
    database,
    sql`select ${columnsOf(cacheEntries)} from cache_entries where backend = ${backend} and state = 'gone' and reserved_for = ${workflowId}
      and gone_at >= ${since.toISOString()}::timestamptz order by gone_at, id limit ${TARGET_ROWS}`,
  );
  return rows.map((row) => parseRow(cacheEntries, row));
}

/** Forgets entries that were gone before an instant, at most `limit`: by then what they were used for counts nothing. Idempotent. */
export async function forgetGone(
  database: Database,
  { backend, before, limit }: { backend: BackendName; before: Date; limit: number },
): Promise<void> {
  await runStatement(
    database,
    sql`delete from cache_entries where id in (
        select id from cache_entries where backend = ${backend} and state = 'gone' and gone_at < ${before.toISOString()}::timestamptz
        order by id limit ${limit})`,
  );
}
