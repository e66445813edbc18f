import { sql } from 'drizzle-orm';
import type { BackendName, EntryId, ImageId, ProjectId } from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import { findStayReason, type StayReason } from '../../workflows/contract/eviction';
import type { FreedEntry } from '../../workflows/contract/population';
import { hasKey } from '../cache-key';
import type { Database } from '../client';
import { cacheEntries, type imageUseStates, type EntryRow } from '../schema';
import { columnsOf, inTransaction, parseRow, runStatement, uuids, type Queryable } from '../statement';
import { findLeased } from './entries';
import { eventsOf } from './entry-events';
import { cloneLimitOf } from '../backends';
import { retired } from './retirement';

export type ImageUseState = (typeof imageUseStates)[number];

/** Retired entries that nothing holds are looked at again: whoever retired them may have died before they were deleted. */
const concernsUs = sql`(e.state = 'ready' or (e.state = 'retired' and e.clones = 0))`;

/** @returns up to `limit` ids of images behind entries, in their order, from `afterImageId` on. */
export async function listImagesBehindEntries(
  database: Database,
  {
    afterImageId,
    imageIds,
    backend,
    limit,
  }: { afterImageId: ImageId | null; imageIds?: readonly string[]; backend?: BackendName; limit: number },
): Promise<ImageId[]> {
  const rows = await runStatement<{ image_id: ImageId }>(
    database,
    sql`select distinct i.image_id from entry_images i join cache_entries e on e.id = i.entry_id
      where ${concernsUs} and i.image_id > ${afterImageId ?? ''} and (${backend ?? null}::text is null or e.backend = ${backend ?? null}::text)
        and (${imageIds === undefined} or i.image_id in (select value from jsonb_array_elements_text(${JSON.stringify(imageIds ?? [])}::jsonb)))
      order by i.image_id limit ${limit}`,
  );
  return rows.map((row) => row.image_id);
}

/** @returns ids of images behind entries, those first that were last seen, up to `limit`: what a sound image service knows. */
export async function listSeenImages(
  database: Database,
  { except, limit }: { except: readonly ImageId[]; limit: number },
): Promise<ImageId[]> {
  const rows = await runStatement<{ image_id: ImageId }>(
    database,
    sql`select i.image_id, max(i.last_seen_at) as seen_at from entry_images i join cache_entries e on e.id = i.entry_id
      where e.state <> 'gone' and i.state <> 'gone'
        and i.image_id not in (select value from jsonb_array_elements_text(${JSON.stringify(except)}::jsonb)) group by i.image_id order by seen_at desc limit ${limit}`,
  );
  return rows.map((row) => row.image_id);
}

/** What the image service says of an image now, at all entries that serve it. Idempotent. */
export async function noteImageState(
  database: Database,
  { imageId, state }: { imageId: ImageId; state: ImageUseState },
): Promise<void> {
  await runStatement(
    database,
    sql`update entry_images set state = ${state}, last_seen_at = now() where image_id = ${imageId}`,
  );
}

/** @returns the newest ready entry of the key that takes clones, which serves this image too from now on; undefined when there is none. Idempotent. */
export async function serveFromReady(
  database: Database,
  { backend, key, imageId, projectId }: { backend: BackendName; key: CacheKey; imageId: ImageId; projectId: ProjectId },
): Promise<EntryId | undefined> {
  const [row] = await runStatement<{ id: EntryId }>(
    database,
    sql`with entry as (
        select e.id from cache_entries e
        where e.backend = ${backend} and e.short_key = ${key.short} and ${hasKey('e', key)} and e.state = 'ready' and e.clones < ${cloneLimitOf(backend)}
        order by e.generation desc limit 1
      ), served as (
        insert into entry_images (entry_id, image_id, project_id) select id, ${imageId}, ${projectId} from entry
        on conflict (entry_id, image_id) do update set state = 'usable', last_seen_at = now()
      )
      select id from entry`,
  );
  return row?.id;
}

export interface UnusableEntries {
  /** Retired by this call. */
  retired: EntryId[];
  /** Retired, and nothing holds them: their image-volumes may be deleted. */
  free: FreedEntry[];
  kept: { entryId: EntryId; why: StayReason }[];
}

/** `ready -> retired` for those of an image's entries that serve no usable image, unless they are leased or pinned. Idempotent: what is free is told again. */
export function retireUnusableEntries(
  database: Database,
  { imageId, workflowId }: { imageId: ImageId; workflowId: string },
): Promise<UnusableEntries> {
  return inTransaction(database, async (transaction) => {
    const unusable = await lockUnusable(transaction, imageId);
    const ready = unusable.filter(({ state }) => state === 'ready');
    const leased = await findLeased(
      transaction,
      ready.map(({ id }) => id),
    );
    const facts = ready.map((entry) => ({
      entry,
      // Creates that wait for its population are not waited for: its image may not be used any more.
      why: findStayReason({ ...entry, leased: leased.has(entry.id), awaited: false }),
    }));
    const goes = facts.filter(({ why }) => why === undefined).map(({ entry }) => entry);
    await retire(transaction, { entryIds: goes.map(({ id }) => id), workflowId });
    const free = [...goes, ...unusable.filter(({ state }) => state === 'retired')].filter(({ clones }) => clones === 0);
    return {
      retired: goes.map(({ id }) => id),
      free: free.map(({ id, imageVolume, backend }) => ({ entryId: id, imageVolume, backend })),
      kept: facts.flatMap(({ entry, why }) => (why === undefined ? [] : [{ entryId: entry.id, why }])),
    };
  });
}

/** Locks all entries of the image, then looks in a second statement which of them serve no usable one. */
async function lockUnusable(transaction: Queryable, imageId: ImageId): Promise<EntryRow[]> {
  const rows = await runStatement(
    transaction,
    sql`select ${columnsOf(cacheEntries, 'e')} from cache_entries e
      where ${concernsUs} and e.id in (select entry_id from entry_images where image_id = ${imageId}) order by e.id for update`,
  );
  const locked = rows.map((row) => parseRow(cacheEntries, row));
  if (locked.length === 0) return [];
  const usable = await runStatement<{ entry_id: EntryId }>(
    transaction,
    sql`select distinct entry_id from entry_images where entry_id = any (${uuids(locked.map(({ id }) => id))}) and state = 'usable'`,
  );
  const ids = new Set(usable.map((row) => row.entry_id));
  return locked.filter(({ id, state }) => state === 'retired' || !ids.has(id));
}

async function retire(
  transaction: Queryable,
  { entryIds, workflowId }: { entryIds: EntryId[]; workflowId: string },
): Promise<void> {
  if (entryIds.length === 0) return;
  await runStatement(
    transaction,
    sql`with changed as (
        update cache_entries set ${retired('image-gone')}, reason_detail = 'its last usable image is gone or deactivated'
        where id = any (${uuids(entryIds)}) and state = 'ready' returning ${columnsOf(cacheEntries)}
      ) ${eventsOf('changed', { kind: 'retired', workflowId })}`,
  );
}
