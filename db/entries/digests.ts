import { sql } from 'drizzle-orm';
import type { BackendName, EntryId } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { cacheEntries } from '../schema';
import { columnsOf, parseRow, runStatement } from '../statement';
import type { EntryRow } from '../types';
import { eventColumns, eventsOf } from './entry-events';

/** @returns ready entries without a digest, the oldest first. */
export async function listUndigested(
  database: Database,
  { backend, limit }: { backend: BackendName; limit: number },
): Promise<EntryRow[]> {
  const rows = await runStatement(
    database,
    sql`select ${columnsOf(cacheEntries)} from cache_entries where backend = ${backend} and state = 'ready' and digest is null
      order by ready_at, id limit ${limit}`,
  );
  return rows.map((row) => parseRow(cacheEntries, row));
}

/** @returns ready entries with a digest, those first whose bytes were looked at longest ago. */
export async function listLeastScrubbed(
  database: Database,
  { backend, limit }: { backend: BackendName; limit: number },
): Promise<EntryRow[]> {
  const rows = await runStatement(
    database,
    sql`select ${columnsOf(cacheEntries)} from cache_entries where backend = ${backend} and state = 'ready' and digest is not null
      order by coalesce(digest_seen_at, ready_at), id limit ${limit}`,
  );
  return rows.map((row) => parseRow(cacheEntries, row));
}

/** Notes a ready entry's digest, once; whoever comes second changes nothing. */
export async function recordDigest(
  database: Database,
  { entryId, algorithm, digest }: { entryId: EntryId; algorithm: string; digest: string },
): Promise<void> {
  await runStatement(
    database,
    sql`with changed as (
        update cache_entries set digest_algorithm = ${algorithm}, digest = ${digest}, digest_seen_at = now()
        where id = ${entryId} and state = 'ready' and digest is null returning ${eventColumns}
      ) ${eventsOf('changed', { kind: 'digested', detail: `${algorithm} ${digest}` })}`,
  );
}

/** Notes that a ready entry's bytes have their digest still. */
export async function noteScrubbed(database: Database, { entryId }: { entryId: EntryId }): Promise<void> {
  await runStatement(
    database,
    sql`with changed as (
        update cache_entries set digest_seen_at = now() where id = ${entryId} and state = 'ready' returning ${eventColumns}
      ) ${eventsOf('changed', { kind: 'scrubbed', detail: 'its bytes have their digest' })}`,
  );
}
