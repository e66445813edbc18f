import { and, eq, sql, type SQL } from 'drizzle-orm/sql';
import type { BackendName, ContentId, EntryId, VolumeId } from '../workflows/contract/ids';
import type { CacheKey } from '../workflows/contract/image';
import type { FreedEntry, LeasedEntry } from '../workflows/contract/population';
import type { Connection } from '../workflows/contract/volume';
import { cloneLimitOf } from './backends';
import type { Database } from './client';
import { freed, releaseOf } from './entries/clones';
import { findEntry } from './entries/entries';
import { recordVolumeEvent, volumeEventColumns, volumeEventsOf, type EventSource } from './events';
import { hasKey } from './key-columns';
import { holdsNothing, lockReimage, whyNotReimagable, type NotReimagable } from './reimage-admission';
import { cacheEntries, reimages, snapshots, type EntryRow, type ReimageRow, type VolumeRow } from './schema';
import {
  inTransaction,
  isLiteral,
  isOneOf,
  json,
  query,
  readRows,
  readTable,
  runStatement,
  type Queryable,
} from './statement';
import { lockVolume } from './volumes';

/** Ends a reimage that holds nothing yet: the volume is what it was. Idempotent. */
export async function dropReimage(database: Database, { contentId }: { contentId: ContentId }): Promise<void> {
  await runStatement(
    database,
    sql`with dropped as (delete from reimages where content_id = ${contentId} and entry_id is null and stage = 'begun' returning volume_id)
      update volumes set state = 'error', updated_at = now() from dropped where id = volume_id and state = 'reimaging'`,
  );
}

/**
 * Notes that a reimage begins to change the backend, without a parent: needed for an uncached image's bytes. Repeated it changes nothing. Undo:
 * `settleReimage`.
 * @returns false where it has ended, in whatever way.
 */
export async function beginReplacing(
  database: Database,
  { volumeId, contentId }: { volumeId: VolumeId; contentId: ContentId },
): Promise<boolean> {
  const begun = await runStatement(
    database,
    sql`update reimages set stage = case when stage = 'begun' then 'replacing' else stage end
      where volume_id = ${volumeId} and content_id = ${contentId}`,
  );
  return begun > 0;
}

/**
 * From here on the volume has bytes of neither image: it is `reimaging`, so that nobody uses it, until the reimage has ended. Repeated it is `begun` again.
 * Undo: `settleReimage`, to `error`.
 */
export function beginInPlace(
  database: Database,
  { volumeId, contentId }: { volumeId: VolumeId; contentId: ContentId },
): Promise<
  | { kind: 'begun'; volume: VolumeRow & { sizeBytes: number } }
  | Exclude<FinishReimageOutcome, { kind: 'done' | 'done-before' }>
> {
  return inTransaction(database, async (transaction) => {
    const volume = await lockVolume(transaction, { volumeId, scope: 'all projects' });
    const reimage = await lockReimage(transaction, volumeId);
    if (reimage?.contentId !== contentId) return { kind: 'ended' };
    const refusal = whyNotReimagable(volume, reimage) ?? (await findTaking(transaction, volumeId));
    if (refusal !== undefined) return refusal;
    if (volume === undefined || volume.sizeBytes === null) throw new Error(`volume ${volumeId} has no size`);
    await runStatement(transaction, sql`update reimages set stage = 'in-place' where volume_id = ${volumeId}`);
    await runStatement(
      transaction,
      sql`update volumes set state = 'reimaging', updated_at = now() where id = ${volumeId} and state = 'available'`,
    );
    return { kind: 'begun', volume: { ...volume, sizeBytes: volume.sizeBytes } };
  });
}

export type HoldParentOutcome =
  | { kind: 'held'; entry: LeasedEntry }
  /** The entry takes no clone any more. */
  | { kind: 'cold' }
  /** It has ended, in whatever way. */
  | { kind: 'ended' };

/** Lets a reimage hold its new parent, which nobody deletes from here on. Repeated it is the same one. Undo: `settleReimage`. */
export function holdParent(
  database: Database,
  request: {
    volumeId: VolumeId;
    contentId: ContentId;
    entryId: EntryId;
    backend: BackendName;
    key: CacheKey;
    cloneLimit?: number;
  },
): Promise<HoldParentOutcome> {
  const { volumeId, contentId } = request;
  return inTransaction(database, async (transaction) => {
    const reimage = await lockReimage(transaction, volumeId);
    if (reimage?.contentId !== contentId) return { kind: 'ended' };
    const entry =
      reimage.entryId === null
        ? await takeEntry(transaction, request)
        : await findEntry(transaction, { entryId: reimage.entryId });
    if (entry === undefined) return { kind: 'cold' };
    await runStatement(transaction, sql`update reimages set entry_id = ${entry.id} where volume_id = ${volumeId}`);
    const { id, imageVolume, virtualBytes, generation } = entry;
    if (virtualBytes === null) throw new Error(`entry ${id} is not measured`);
    return { kind: 'held', entry: { id, imageVolume, virtualBytes, generation } };
  });
}

async function takeEntry(
  on: Queryable,
  { entryId, backend, key, cloneLimit }: { entryId: EntryId; backend: BackendName; key: CacheKey; cloneLimit?: number },
): Promise<EntryRow | undefined> {
  const [entry] = await readTable(
    on,
    cacheEntries,
    (columns) => sql`update cache_entries e set clones = clones + 1, uses = uses + 1, last_used_at = now()
      where id = ${entryId} and state = 'ready' and ${hasKey('e', key)} and clones < ${cloneLimitOf(backend, cloneLimit)} returning ${columns}`,
  );
  return entry;
}

/** Gives a parent back that turned out unusable, so that another can be held. Idempotent. @returns those that may be deleted now. */
export async function giveParentBack(
  database: Database,
  { volumeId, contentId }: { volumeId: VolumeId; contentId: ContentId },
): Promise<FreedEntry[]> {
  const [row] = await readRows(
    database,
    { freed },
    (columns) => sql`with held as (
        select entry_id from reimages where volume_id = ${volumeId} and content_id = ${contentId} and entry_id is not null for update
      ), released as (${releaseOf(sql`held`)})
      update reimages set entry_id = null where volume_id = ${volumeId} and content_id = ${contentId} returning ${columns}`,
  );
  return row?.freed ?? [];
}

export type FinishReimageOutcome =
  | { kind: 'done'; volume: VolumeRow; freed: FreedEntry[] }
  /** By an earlier call: the volume has the new bytes. */
  | { kind: 'done-before'; volume: VolumeRow }
  | NotReimagable
  /** A snapshot is being taken of the bytes that are to go. */
  | { kind: 'busy'; workflowId: string }
  /** It has ended without the new bytes. */
  | { kind: 'ended' };

/**
 * Replaces the volume's bytes and says so in its row, which is locked meanwhile: nobody grows, deletes, attaches or snapshots it then, and a late try
 * after an undo does nothing. Killed between the two, the next call, or `settleReimage`, finds the new bytes there. Idempotent.
 * @param replace gives the volume the new bytes; they may be there already.
 */
export function finishReimage(
  database: Database,
  {
    volumeId,
    contentId,
    source,
    replace,
  }: {
    volumeId: VolumeId;
    contentId: ContentId;
    source: EventSource;
    replace: (volume: VolumeRow & { sizeBytes: number }) => Promise<Connection>;
  },
): Promise<FinishReimageOutcome> {
  return inTransaction(database, async (transaction) => {
    const volume = await lockVolume(transaction, { volumeId, scope: 'all projects' });
    if (volume?.contentId === contentId) return { kind: 'done-before', volume };
    const reimage = await lockReimage(transaction, volumeId);
    if (reimage?.contentId !== contentId || holdsNothing(reimage)) return { kind: 'ended' };
    const refusal = whyNotReimagable(volume, reimage) ?? (await findTaking(transaction, volumeId));
    if (refusal !== undefined) return refusal;
    if (volume === undefined || volume.sizeBytes === null) throw new Error(`volume ${volumeId} has no size`);
    const connection = await replace({ ...volume, sizeBytes: volume.sizeBytes });
    return { kind: 'done', ...(await writeReplaced(transaction, { reimage, connection, source })) };
  });
}

/** @returns the run that takes a snapshot of the volume: the snapshot holds the parent that the volume needed when it began. */
async function findTaking(
  on: Queryable,
  volumeId: VolumeId,
): Promise<{ kind: 'busy'; workflowId: string } | undefined> {
  const where = and(eq(snapshots.volumeId, volumeId), isLiteral(snapshots.state, 'creating'));
  const [row] = await query(on, (orm) => orm.select().from(snapshots).where(where).limit(1));
  return row && { kind: 'busy', workflowId: row.workflowId };
}

/**
 * Ends a reimage whose run does nothing more for it: finished where the volume has the new bytes, undone where it has the old ones. The rows are locked
 * meanwhile. Idempotent.
 * @param look tells whether the volume has the new bytes, and how it is attached then; else removes what was made of them.
 * @returns `volume` where it has them.
 */
export function settleReimage(
  database: Database,
  {
    volumeId,
    contentId,
    source,
    look,
  }: {
    volumeId: VolumeId;
    contentId: ContentId;
    source: EventSource;
    look: () => Promise<Connection | undefined>;
  },
): Promise<{ volume?: VolumeRow; freed: FreedEntry[] }> {
  return inTransaction(database, async (transaction) => {
    const volume = await lockVolume(transaction, { volumeId, scope: 'all projects' });
    const reimage = await lockReimage(transaction, volumeId);
    if (reimage?.contentId !== contentId)
      return { ...(volume?.contentId === contentId && volume.state === 'available' && { volume }), freed: [] };
    const connection = await look();
    if (connection !== undefined && volume !== undefined && volume.state !== 'deleted')
      return await writeReplaced(transaction, { reimage, connection, source });
    if (volume?.state === 'reimaging') await endWithout(transaction, { reimage, source });
    else {
      // It has the bytes that it had, and whoever has asked is told.
      const detail = { to: reimage.imageId };
      await recordVolumeEvent(transaction, {
        kind: 'volume.reimage-failed',
        volumeId,
        detail,
        ...askedFor(reimage, source),
      });
    }
    const [row] = await readRows(
      transaction,
      { freed },
      (
        columns,
      ) => sql`with released as (${releaseOf(sql`reimages where volume_id = ${volumeId} and entry_id is not null`)})
        delete from reimages where volume_id = ${volumeId} returning ${columns}`,
    );
    return { freed: row?.freed ?? [] };
  });
}

/** The public error of a volume that was left half-written. */
const HALF_WRITTEN = 'ReimageUnfinished';

/** The source with the requester of the reimage, whoever ends it. */
function askedFor({ requestedBy, requestId }: ReimageRow, source: EventSource): EventSource {
  return {
    ...source,
    by: source.by ?? requestedBy ?? undefined,
    requestId: source.requestId ?? requestId ?? undefined,
  };
}

/** A volume that was in `error` is so again; one that was being written says that it has no image's bytes. */
async function endWithout(
  on: Queryable,
  { reimage, source }: { reimage: ReimageRow; source: EventSource },
): Promise<void> {
  const { volumeId, imageId, stage } = reimage;
  const message = `its reimage with image ${imageId} has not ended, and it has the bytes of no image: reimage it again`;
  const error = sql`, error_type = ${HALF_WRITTEN}, error_message = ${message}`;
  await runStatement(
    on,
    sql`with changed as (
        update volumes set state = 'error', updated_at = now()${stage === 'in-place' ? error : sql``} where id = ${volumeId}
        returning ${volumeEventColumns}
      ) ${volumeEventsOf('changed', { kind: 'volume.reimage-failed', detail: { to: imageId }, ...askedFor(reimage, source) })}`,
  );
}

/** The volume is one of the new image, and holds its parent in place of the old one, where its bytes are a clone and clones need theirs. */
async function writeReplaced(
  on: Queryable,
  { reimage, connection, source }: { reimage: ReimageRow; connection: Connection; source: EventSource },
): Promise<{ volume: VolumeRow; freed: FreedEntry[] }> {
  const { volumeId, contentId, imageId, shortKey, imageMetadata, requestedBy, requestId } = reimage;
  const asked = { ...source, by: requestedBy ?? undefined, requestId: requestId ?? undefined };
  const [row] = await readRows(
    on,
    { freed },
    (columns) => sql`with before as (
        select v.id, v.image_id, v.entry_id, v.holds_entry, r.entry_id as new_entry_id,
          r.entry_id is not null and r.stage <> 'in-place' and coalesce((b.capabilities ->> 'clonesPinParent')::boolean, true) as pins
        from volumes v join reimages r on r.volume_id = v.id join backends b on b.name = v.backend where v.id = ${volumeId}
      ), ended as (
        delete from reimages where volume_id = ${volumeId} returning volume_id
      ), changed as (
        update volumes v set entry_id = b.new_entry_id, holds_entry = b.pins, content_id = ${contentId}::uuid, image_id = ${imageId},
          short_key = ${shortKey}, image_metadata = ${json(imageMetadata)}, bootable = true, connection = ${json(connection)}, updated_at = now(),
          state = 'available', status = case when v.status = 'error' then null else v.status end, available_at = coalesce(available_at, now()), error_type = null, error_message = null,
          outcome = coalesce(v.outcome, case when b.new_entry_id is null then 'bypassed' else 'hit' end)
        from before b, ended where v.id = b.id
        returning v.id, v.project_id, v.image_id, v.entry_id, v.backend, b.image_id as former_image_id
      ), given_back as (
        select entry_id from before where holds_entry union all select new_entry_id from before where not pins and new_entry_id is not null
      ), released as (${releaseOf(sql`given_back`)}
      ), noted as (${volumeEventsOf('changed', { ...asked, kind: 'volume.reimaged', detail: imagesDetail })})
      select ${columns} from changed`,
  );
  const volume = await lockVolume(on, { volumeId, scope: 'all projects' });
  if (volume === undefined) throw new Error(`volume ${volumeId} was not written`);
  return { volume, freed: row?.freed ?? [] };
}

const imagesDetail: SQL = sql`jsonb_build_object('from', former_image_id, 'to', image_id)`;

/** @returns the reimages of a backend's volumes. */
export function listReimages(
  database: Database,
  { backend, limit }: { backend: BackendName; limit: number },
): Promise<ReimageRow[]> {
  return query(database, (orm) =>
    orm.select().from(reimages).where(eq(reimages.backend, backend)).orderBy(reimages.volumeId).limit(limit),
  );
}

const reimaging = { volumeId: reimages.volumeId };

/** @returns those of the volumes whose bytes are being replaced. */
export async function readReimaging(on: Queryable, volumeIds: readonly VolumeId[]): Promise<Set<VolumeId>> {
  if (volumeIds.length === 0) return new Set();
  const rows = await readRows(
    on,
    reimaging,
    (columns) => sql`select ${columns} from reimages where ${isOneOf(sql`volume_id`, volumeIds)}`,
  );
  return new Set(rows.map(({ volumeId }) => volumeId));
}
