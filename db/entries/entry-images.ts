import { eq, sql } from 'drizzle-orm/sql';
import type { BackendName, EntryId, ImageId, ProjectId } from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import { findStayReason, type StayReason } from '../../workflows/contract/eviction';
import type { FreedEntry } from '../../workflows/contract/population';
import { hasKey } from '../key-columns';
import type { Database } from '../client';
import { cacheEntries, entryImages, type imageUseStates, type EntryRow } from '../schema';
import {
  cast,
  columnsOf,
  inTransaction,
  query,
  readRows,
  readTable,
  runStatement,
  texts,
  uuids,
  type Queryable,
  transactionTime,
} from '../statement';
import { findLeased } from './entries';
import { eventsOf } from './entry-events';
import { cloneLimitOf } from '../backends';
import { retired } from './retirement';

export type ImageUseState = (typeof imageUseStates)[number];

/** Retired entries that nothing holds come up again: their retirement may have died before their deletion. */
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
  const rows = await readRows(
    database,
    { imageId: cast.text<ImageId>(sql`i.image_id`) },
    (columns) => sql`select distinct ${columns} from entry_images i join cache_entries e on e.id = i.entry_id
      where ${concernsUs} and i.image_id > ${afterImageId ?? ''} and (${backend ?? null}::text is null or e.backend = ${backend ?? null}::text)
        and (${imageIds === undefined} or i.image_id = any (${texts(imageIds ?? [])}))
      order by "imageId" limit ${limit}`,
  );
  return rows.map(({ imageId }) => imageId);
}

/**
 * @returns ids of images behind entries, those first that were last seen, up to `limit`: a sound image service knows
 * them.
 */
export async function listSeenImages(
  database: Database,
  { except, limit }: { except: readonly ImageId[]; limit: number },
): Promise<ImageId[]> {
  const rows = await readRows(
    database,
    { imageId: cast.text<ImageId>(sql`i.image_id`) },
    (columns) => sql`select ${columns} from entry_images i join cache_entries e on e.id = i.entry_id
      where e.state <> 'gone' and i.state <> 'gone'
        and not (i.image_id = any (${texts(except)})) group by i.image_id order by max(i.last_seen_at) desc limit ${limit}`,
  );
  return rows.map(({ imageId }) => imageId);
}

/** Notes an image's state in the image service at all of its entries. Idempotent. */
export async function noteImageState(
  database: Database,
  { imageId, state }: { imageId: ImageId; state: ImageUseState },
): Promise<void> {
  await query(database, (orm) =>
    orm.update(entryImages).set({ state, lastSeenAt: transactionTime }).where(eq(entryImages.imageId, imageId)),
  );
}

/**
 * Notes the image at the newest ready entry of the key that has room for clones. Idempotent. @returns undefined when
 * there is none.
 */
export async function addImageToReady(
  database: Database,
  { backend, key, imageId, projectId }: { backend: BackendName; key: CacheKey; imageId: ImageId; projectId: ProjectId },
): Promise<EntryId | undefined> {
  const [row] = await readRows(
    database,
    { id: cacheEntries.id },
    (columns) => sql`with entry as (
        select e.id from cache_entries e
        where e.backend = ${backend} and e.short_key = ${key.short} and ${hasKey('e', key)} and e.state = 'ready' and e.clones < ${cloneLimitOf(backend)}
        order by e.generation desc limit 1
      ), served as (
        insert into entry_images (entry_id, image_id, project_id) select id, ${imageId}, ${projectId} from entry
        on conflict (entry_id, image_id) do update set state = 'usable', last_seen_at = now()
      )
      select ${columns} from entry`,
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

/**
 * `ready -> retired` for those of an image's entries that serve no usable image, unless they are leased or pinned.
 * Idempotent: free entries are told again.
 */
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

/** Locks all entries of the image, then reads in a second statement which of them have no usable one. */
async function lockUnusable(transaction: Queryable, imageId: ImageId): Promise<EntryRow[]> {
  const locked = await readTable(
    transaction,
    cacheEntries,
    (columns) => sql`select ${columns} from cache_entries e
      where ${concernsUs} and e.id in (select entry_id from entry_images where image_id = ${imageId}) order by e.id for update`,
  );
  if (locked.length === 0) return [];
  const { entryId, state: useState } = entryImages;
  const where = sql`${entryId} = any (${uuids(locked.map(({ id }) => id))}) and ${useState} = 'usable'`;
  const usable = await query(transaction, (orm) => orm.selectDistinct({ entryId }).from(entryImages).where(where));
  const ids = new Set(usable.map((row) => row.entryId));
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
