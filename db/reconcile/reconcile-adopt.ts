import { randomUUID } from 'node:crypto';
import { and, eq, sql } from 'drizzle-orm/sql';
import type { BackendName, ContentId, EntryId, ImageId, ProjectId, VolumeId } from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import type { Connection } from '../../workflows/contract/volume';
import { hasKey, keyColumnNames, keyValues } from '../key-columns';
import type { Database } from '../client';
import { cacheEntries, type EntryRow, type VolumeRow } from '../schema';
import { cast, inTransaction, json, query, readRows, runStatement, texts, type Queryable } from '../statement';
import { lockBackend } from '../backends';
import { releaseOf } from '../entries/clones';
import { eventColumns, eventsOf } from '../entries/entry-events';
import { recordVolumeEvent, type EventSource } from '../events';
import { lockAsSeen } from './reconcile-volumes';

/** @returns the entries of these image-volumes; one that is there in place of one that is gone. */
export async function readEntriesOf(
  database: Queryable,
  { backend, imageVolumes }: { backend: BackendName; imageVolumes: string[] },
): Promise<Map<string, EntryRow>> {
  if (imageVolumes.length === 0) return new Map();
  const { imageVolume, state, generation } = cacheEntries;
  const where = and(eq(cacheEntries.backend, backend), sql`${imageVolume} = any (${texts(imageVolumes)})`);
  const rows = await query(database, (orm) =>
    orm
      .select()
      .from(cacheEntries)
      .where(where)
      .orderBy(sql`${state} <> 'gone'`, generation),
  );
  return new Map(rows.map((row) => [row.imageVolume, row]));
}

/** An image-volume as its marker tells it. */
export interface MarkedImageVolume {
  backend: BackendName;
  imageVolume: string;
  key: CacheKey;
  generation: number;
  virtualBytes: number;
  realBytes: number;
}

/**
 * Makes the entry of an image-volume again that volumes need: `retired`, outside of the limits, deleted with the last
 * of them. One that is there stays. Idempotent. @returns undefined when it is being deleted.
 */
export function adoptEntry(
  database: Database,
  { found, workflowId }: { found: MarkedImageVolume; workflowId: string },
): Promise<EntryId | undefined> {
  const { backend, imageVolume, key, generation } = found;
  return inTransaction(database, async (transaction) => {
    await lockBackend(transaction, { name: backend });
    const known = (await readEntriesOf(transaction, { backend, imageVolumes: [imageVolume] })).get(imageVolume);
    if (known?.state === 'ready' || known?.state === 'retired') return known.id;
    if (known !== undefined && known.state !== 'gone') return undefined;
    const [row] = await readRows(
      transaction,
      { id: cacheEntries.id },
      (columns) => sql`with changed as (
          insert into cache_entries (id, backend, ${keyColumnNames}, generation, state, reason, reason_detail, image_volume, virtual_bytes, real_bytes,
            counted, retired_at)
          select ${randomUUID()}::uuid, ${backend}, ${keyValues(key)}, case when taken.it then taken.latest + 1 else ${generation}::int end, 'retired',
            'requested', 'made again from its marker for the volumes that need it', ${imageVolume}, ${found.virtualBytes}::bigint, ${found.realBytes}::bigint,
            false, now()
          from (select coalesce(bool_or(generation = ${generation}), false) as it, max(generation) as latest from cache_entries
            where backend = ${backend} and short_key = ${key.short}) taken
          returning ${eventColumns}
        ), noted as (${eventsOf('changed', { kind: 'repaired', workflowId })})
        select ${columns} from changed`,
    );
    return row?.id;
  });
}

/** A volume as its marker and the backend tell it. */
export interface MarkedVolume {
  volumeId: VolumeId;
  projectId: ProjectId;
  name: string | null;
  backend: BackendName;
  /** Undefined: its bytes are of no image. */
  key: CacheKey | undefined;
  sizeBytes: number;
  connection: Connection;
  /** See `volumes`. */
  contentId?: ContentId;
  /** The parent that it needs. */
  entryId?: EntryId;
}

/** Stands for the image of a volume that nothing in the inventory tells any more. */
const UNKNOWN_IMAGE = '00000000-0000-0000-0000-000000000000';

/**
 * Makes a volume's row again, `available` and bootable, with its hold on its parent in the same transaction. A row that
 * is there stays.
 * @returns whether this call made it; false too when the parent can no longer be held.
 */
export function adoptVolume(
  database: Database,
  { found, workflowId, runId, source }: { found: MarkedVolume; workflowId: string; runId: string; source: EventSource },
): Promise<boolean> {
  const { volumeId, projectId, name, backend, key, sizeBytes, connection, contentId, entryId } = found;
  return inTransaction(database, async (transaction) => {
    const imageId = key === undefined ? null : await findImageOf(transaction, { backend, key });
    const request = { imageId, backend, projectId, name, sizeBytes, metadata: {}, bypassCache: false };
    const made = await runStatement(
      transaction,
      sql`with parent as (
          update cache_entries set clones = clones + 1 where id = ${entryId ?? null}::uuid and state in ('ready', 'retired')
            and not exists (select 1 from volumes where id = ${volumeId}) returning id
        )
        insert into volumes (id, project_id, name, backend, image_id, short_key, request, size_bytes, state, entry_id, holds_entry, workflow_id, run_id,
          outcome, connection, content_id, bootable, image_metadata, metadata, available_at)
        select ${volumeId}, ${projectId}, ${name}, ${backend}, ${imageId}, ${key?.short ?? null}, ${json(request)}, ${sizeBytes}::bigint, 'available',
          parent.id, parent.id is not null, ${workflowId}, ${runId}, ${entryId === undefined ? 'bypassed' : 'hit'}, ${json(connection)}, ${contentId ?? null}::uuid, true, '{}', '{}', now()
        from (select 1) as one left join parent on true where ${entryId === undefined}::boolean or parent.id is not null
        on conflict (id) do nothing`,
    );
    if (made === 0 && entryId !== undefined) throw new NotAdopted();
    if (made > 0) await recordVolumeEvent(transaction, { kind: 'volume.adopted', volumeId, ...source });
    return made > 0;
  }).catch(unlessNotAdopted);
}

/**
 * Makes a row `available` that says it never was, with its hold on the parent that it needs and no other. Under the
 * locks of the volume, then of the entries. Idempotent. @returns false when the row is no longer what it was seen as,
 * or the parent can no longer be held.
 */
export function finishVolume(
  database: Database,
  {
    volume,
    sizeBytes,
    connection,
    entryId,
    source,
  }: { volume: VolumeRow; source: EventSource } & Pick<MarkedVolume, 'sizeBytes' | 'connection' | 'entryId'>,
): Promise<boolean> {
  return inTransaction(database, async (transaction) => {
    if (!(await lockAsSeen(transaction, volume))) return false;
    const held = volume.holdsEntry ? (volume.entryId ?? undefined) : undefined;
    if (held !== entryId) {
      await runStatement(transaction, releaseOf(sql`volumes where id = ${volume.id} and holds_entry`));
      const parents = await runStatement(
        transaction,
        sql`update cache_entries set clones = clones + 1 where id = ${entryId ?? null}::uuid and state in ('ready', 'retired')`,
      );
      if (entryId !== undefined && parents === 0) throw new NotAdopted();
    }
    await runStatement(
      transaction,
      sql`update volumes set state = 'available', given_up = false, size_bytes = ${sizeBytes}, connection = ${json(connection)}, bootable = true,
          entry_id = coalesce(${entryId ?? null}::uuid, entry_id), holds_entry = ${entryId !== undefined}::boolean, waits_for_flight = null, activity_id = null,
          outcome = coalesce(outcome, ${entryId === undefined ? 'bypassed' : 'hit'}), error_type = null, error_message = null,
          available_at = now(), updated_at = now()
        where id = ${volume.id}`,
    );
    const detail = { from: volume.state };
    await recordVolumeEvent(transaction, { kind: 'volume.repaired', volumeId: volume.id, detail, ...source });
    return true;
  }).catch(unlessNotAdopted);
}

/** Undoes the hold on the parent: another call has made the row meanwhile. */
class NotAdopted extends Error {}

function unlessNotAdopted(error: unknown): false {
  if (error instanceof NotAdopted) return false;
  throw error;
}

/** An image that had these bytes: the key's own, else one of an entry or of a population. */
async function findImageOf(
  transaction: Queryable,
  { backend, key }: { backend: BackendName; key: CacheKey },
): Promise<ImageId> {
  if (key.imageId !== undefined) return key.imageId;
  const [row] = await readRows(
    transaction,
    { imageId: cast.text<ImageId>(sql`image_id`) },
    (columns) => sql`select ${columns} from (
      select i.image_id, 1 as rank, i.last_seen_at as at from cache_entries e join entry_images i on i.entry_id = e.id
        where e.backend = ${backend} and e.short_key = ${key.short} and ${hasKey('e', key)}
      union all select p.image_id, 2, p.started_at from populations p where p.backend = ${backend} and p.short_key = ${key.short} and ${hasKey('p', key)}
      union all (select v.image_id, 3, v.created_at from volumes v where v.backend = ${backend} and v.short_key = ${key.short} limit 1)
      ) images order by rank, at desc limit 1`,
  );
  return row?.imageId ?? (UNKNOWN_IMAGE as ImageId);
}
