import { sql, type SQL } from 'drizzle-orm';
import type { PinTarget } from '../../workflows/contract/eviction';
import type { BackendName } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { cacheEntries } from '../schema';
import { columnsOf, runStatement } from '../statement';
import { eventsOf } from '../entries/entry-events';

/**
 * Keeps ready entries from being chosen as victims, or no longer, and notes who did it in their histories. Repeated it changes nothing. One statement.
 * @param target a cache key is a whole short key here.  @returns how many ready entries are meant, and how many of them changed.
 */
export async function pinEntries(
  database: Database,
  request: { backend?: BackendName; target: PinTarget; pinned: boolean; by: string; workflowId?: string },
): Promise<{ matched: number; changed: number }> {
  const { backend, target, pinned, by, workflowId } = request;
  const ofBackend = backend === undefined ? sql`true` : sql`e.backend = ${backend}`;
  const [row] = await runStatement<{ matched: number; changed: number }>(
    database,
    sql`with meant as (
        select e.id from cache_entries e where ${ofBackend} and e.state = 'ready' and ${isMeant(target)}
        order by e.id for update
      ), changed as (
        update cache_entries e set pinned = ${pinned}, pinned_by = ${pinned ? by : null} from meant
        where e.id = meant.id and e.state = 'ready' and e.pinned <> ${pinned} returning ${columnsOf(cacheEntries, 'e')}
      ), noted as (${eventsOf(sql`changed`, { kind: pinned ? 'pinned' : 'unpinned', reason: 'requested', detail: `by ${by}`, workflowId })})
      select (select count(*) from meant) as matched, (select count(*) from changed) as changed`,
  );
  return row ?? { matched: 0, changed: 0 };
}

function isMeant(target: PinTarget): SQL {
  if ('entryId' in target) return sql`e.id = ${target.entryId}::uuid`;
  if ('cacheKey' in target) return sql`e.short_key = ${target.cacheKey}`;
  return sql`exists (select 1 from entry_images i where i.entry_id = e.id and i.image_id = ${target.imageId})`;
}
