import { randomUUID } from 'node:crypto';
import { and, eq, sql } from 'drizzle-orm/sql';
import type { BackendName, FollowId, ImageId, VolumeId } from '../../workflows/contract/ids';
import { followPrefix, type FollowSpec } from '../../workflows/contract/refresh';
import type { Database } from '../client';
import { cacheEntries, follows, type FollowRow } from '../schema';
import {
  cast,
  columnsOf,
  inTransaction,
  json,
  query,
  readRows,
  readTable,
  runStatement,
  texts,
  transactionTime,
} from '../statement';
import { eventsOf } from '../entries/entry-events';
import { findEventOfRun, recordEvent, type EventSource } from '../events';

/** `pinned_by` of what is pinned for a follow. */
export function pinnedByFollow(name: string): string {
  return `${followPrefix}${name}`;
}

/**
 * Sets a follow, or changes the one of that name; its ready content stays until newer content is ready. Repeated it
 * changes nothing. Undo: `deleteFollow`.
 */
export function upsertFollow(
  database: Database,
  { source, ...spec }: FollowSpec & { by: string; source: EventSource },
): Promise<FollowRow> {
  const { name, imageName, owner, tags, properties, backend, keep, pin, by } = spec;
  return inTransaction(database, async (transaction) => {
    const [row] = await readTable(
      transaction,
      follows,
      (
        columns,
      ) => sql`insert into follows as f (id, backend, name, image_name, owner, tags, properties, keep, pin, created_by)
      values (${randomUUID()}, ${backend}, ${name}, ${imageName}, ${owner ?? null},
        ${texts(tags)}, ${json(properties)}, ${keep}, ${pin}, ${by})
      on conflict (backend, name) do update set image_name = excluded.image_name, owner = excluded.owner, tags = excluded.tags,
        properties = excluded.properties, keep = excluded.keep, pin = excluded.pin, created_by = excluded.created_by,
        newest_image_id = case when (f.image_name, f.owner, f.tags, f.properties) is not distinct from
          (excluded.image_name, excluded.owner, excluded.tags, excluded.properties) then f.newest_image_id end
      returning ${columns}`,
    );
    if (!row) throw new Error(`follow ${name} was not set`);
    const detail = { imageName, owner, tags, keep, pin };
    await recordEvent(transaction, { kind: 'follow.set', object: name, backend, detail, ...source, by });
    return row;
  });
}

/** Ends a follow; entries pinned for it are unpinned. @returns whether there was one, for the run that has ended it at any time. */
export function deleteFollow(
  database: Database,
  { backend, name, source }: { backend: BackendName; name: string; source: EventSource },
): Promise<boolean> {
  return inTransaction(database, async (transaction) => {
    const where = and(eq(follows.backend, backend), eq(follows.name, name));
    const removed = await query(transaction, (orm) => orm.delete(follows).where(where).returning());
    await runStatement(
      transaction,
      sql`with changed as (
          update cache_entries set pinned = false, pinned_by = null
          where backend = ${backend} and pinned_by = ${pinnedByFollow(name)} returning ${columnsOf(cacheEntries)}
        ) ${eventsOf('changed', { kind: 'unpinned', reason: 'unfollowed', workflowId: source.workflowId })}`,
    );
    if (removed.length === 0)
      return (await findEventOfRun(transaction, { kind: 'follow.removed', source })) !== undefined;
    await recordEvent(transaction, { kind: 'follow.removed', object: name, backend, ...source });
    return true;
  });
}

export async function findFollow(
  database: Database,
  { followId }: { followId: FollowId },
): Promise<FollowRow | undefined> {
  const [row] = await query(database, (orm) => orm.select().from(follows).where(eq(follows.id, followId)));
  return row;
}

/** @returns in the order of backends and names. */
export function selectFollows(
  database: Database,
  { backend, name, limit }: { backend?: BackendName; name?: string; limit: number },
): Promise<FollowRow[]> {
  const where = and(backend && eq(follows.backend, backend), name === undefined ? undefined : eq(follows.name, name));
  return query(database, (orm) =>
    orm.select().from(follows).where(where).orderBy(follows.backend, follows.name).limit(limit),
  );
}

/** Notes what the last check of a follow has found. @param newestImageId undefined: the service has not answered. */
export async function noteFollowChecked(
  database: Database,
  { followId, newestImageId, problem }: { followId: FollowId; newestImageId?: ImageId | null; problem: string | null },
): Promise<void> {
  await query(database, (orm) =>
    orm.update(follows).set({ checkedAt: transactionTime, newestImageId, problem }).where(eq(follows.id, followId)),
  );
}

export type ResolvedFollow = { kind: 'image'; imageId: ImageId } | { kind: 'unknown' } | { kind: 'without-image' };

/**
 * The image that a create from a follow means: the one that the volume was admitted with, else the newest that is ready,
 * else the newest that matched. One statement.
 */
export async function resolveFollow(
  database: Database,
  { backend, name, volumeId }: { backend: BackendName; name: string; volumeId: VolumeId },
): Promise<ResolvedFollow> {
  const fields = {
    admitted: cast.text<ImageId | null>(sql`select v.image_id from volumes v
      where v.id = ${volumeId} and v.backend = ${backend} and v.state in ('creating', 'available')
        and v.request ->> 'imageId' = ${`${followPrefix}${name}`}`),
    known: cast.boolean(sql`f.id is not null`),
    imageId: cast.text<ImageId | null>(
      sql`case when e.state = 'ready' then f.current_image_id else coalesce(f.newest_image_id, f.current_image_id) end`,
    ),
  };
  const [row] = await readRows(
    database,
    fields,
    (columns) =>
      sql`select ${columns} from (select 1) one left join follows f on f.backend = ${backend} and f.name = ${name} left join cache_entries e on e.id = f.current_entry_id`,
  );
  const imageId = row?.admitted ?? row?.imageId;
  if (imageId) return { kind: 'image', imageId };
  return { kind: row?.known ? 'without-image' : 'unknown' };
}
