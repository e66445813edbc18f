import { and, eq, gt, sql, type SQL } from 'drizzle-orm/sql';
import type { ContentId, EntryId, VolumeId } from '../../workflows/contract/ids';
import type { FreedEntry } from '../../workflows/contract/population';
import type { VolumeState } from '../../workflows/contract/volume';
import type { Database } from '../client';
import { cast, isLiteral, isOneOf, query, readRows } from '../statement';
import { volumes } from '../schema';
import { volumeEventColumns, volumeEventsOf, type EventSource } from '../events';
import { eventColumns, eventsOf } from './entry-events';

/** @returns the live clones that hold an entry, by id, after `afterVolumeId`. */
export async function selectClones(
  database: Database,
  { entryId, afterVolumeId, limit }: { entryId: EntryId; afterVolumeId?: VolumeId; limit: number },
): Promise<VolumeId[]> {
  const where = and(
    eq(volumes.entryId, entryId),
    sql`${volumes.holdsEntry}`,
    isLiteral(volumes.state, 'available'),
    afterVolumeId && gt(volumes.id, afterVolumeId),
  );
  const rows = await query(database, (orm) =>
    orm.select({ id: volumes.id }).from(volumes).where(where).orderBy(volumes.id).limit(limit),
  );
  return rows.map(({ id }) => id);
}

/**
 * Gives back what volumes hold of their entries: leases, or clones' holds on their parents. It is the part `released` of
 * a statement that ends `holds_entry` and answers with `freed`.
 * @param holders what follows `from`: rows with an `entry_id`, as they were before.
 */
export function releaseOf(holders: SQL): SQL {
  return sql`update cache_entries e set clones = e.clones - held.volumes
    from (select entry_id, count(*)::int as volumes from ${holders} group by entry_id) held where e.id = held.entry_id
    returning ${eventColumns}, image_volume, state, clones`;
}

/** The parents that may be deleted now: they are retired and nothing holds them. The same in every row. */
export const freed = cast.json<FreedEntry[] | null>(
  sql`select jsonb_agg(jsonb_build_object('entryId', id, 'imageVolume', image_volume, 'backend', backend)) from released where state = 'retired' and clones = 0`,
);

export interface Release {
  /** The retired parent that may be deleted now. */
  freedEntry?: FreedEntry;
}

/** Where no more than one parent can be freed. */
export function toRelease(row: { freed: FreedEntry[] | null } | undefined): Release {
  const [freedEntry] = row?.freed ?? [];
  return freedEntry ? { freedEntry } : {};
}

/**
 * Runs a statement that ends volumes' holds and answers with these columns. When all were ended before, the parents that
 * were freed then are told again: a lost reply costs nothing.
 * @param states the volumes', where their hold has ended.
 */
export async function endHolds(
  database: Database,
  {
    volumeIds,
    states,
    statement,
  }: { volumeIds: readonly VolumeId[]; states: readonly VolumeState[]; statement: (columns: SQL) => SQL },
): Promise<FreedEntry[]> {
  const [row] = await readRows(database, { freed }, statement);
  if (row) return row.freed ?? [];
  const [again] = await readRows(
    database,
    { freed },
    (columns) => sql`with released as (
        select distinct on (e.id) e.id, e.image_volume, e.backend, e.state, e.clones
        from volumes v join cache_entries e on e.id = v.entry_id
        where ${isOneOf(sql`v.id`, volumeIds)} and v.state = any (${`{${states.join(',')}}`}::text[]) and not v.holds_entry
      ) select ${columns}`,
  );
  return again?.freed ?? [];
}

/** As `endHolds`, for one volume. */
export async function endHold(
  database: Database,
  { volumeId, ...request }: { volumeId: VolumeId; states: readonly VolumeState[]; statement: (columns: SQL) => SQL },
): Promise<Release> {
  return toRelease({ freed: await endHolds(database, { ...request, volumeIds: [volumeId] }) });
}

/**
 * Ends an available volume's hold on its parent, after its bytes became its own; a volume that is being deleted
 * releases it by itself. Repeated it changes nothing and tells the freed parent again.
 * @param contentId of the bytes that became its own: others, which it has got since, need their parent.
 */
export function releaseFlattened(
  database: Database,
  { volumeId, contentId, source }: { volumeId: VolumeId; contentId: ContentId | null; source: EventSource },
): Promise<Release> {
  const { workflowId } = source;
  const detail = `volume ${volumeId} does not need it any more`;
  return endHold(database, {
    volumeId,
    states: ['available'],
    statement: (columns) => sql`with volume as (
        select ${volumeEventColumns} from volumes where id = ${volumeId} and state = 'available' and holds_entry
          and content_id is not distinct from ${contentId}::uuid for no key update
      ), released as (${releaseOf(sql`volume`)}
      ), noted as (${eventsOf('released', { kind: 'flattened', reason: 'requested', detail, workflowId })}
      ), told as (${volumeEventsOf('volume', { kind: 'volume.flattened', ...source })})
      update volumes set holds_entry = false, updated_at = now() from volume v where volumes.id = v.id returning ${columns}`,
  });
}
