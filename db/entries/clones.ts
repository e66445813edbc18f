import { sql, type SQL } from 'drizzle-orm';
import type { EntryId, VolumeId } from '../../workflows/contract/ids';
import type { FreedEntry } from '../../workflows/contract/population';
import type { VolumeState } from '../../workflows/contract/volume';
import type { Database } from '../client';
import { runStatement, type RawRow } from '../statement';
import { eventColumns, eventsOf } from './entry-events';

/** @returns the live clones that hold an entry, by id, after `afterVolumeId`. */
export async function selectClones(
  database: Database,
  { entryId, afterVolumeId, limit }: { entryId: EntryId; afterVolumeId?: VolumeId; limit: number },
): Promise<VolumeId[]> {
  const rows = await runStatement<{ id: VolumeId }>(
    database,
    sql`select id from volumes where entry_id = ${entryId} and holds_entry and state = 'available'
      and (${afterVolumeId ?? null}::uuid is null or id > ${afterVolumeId ?? null}::uuid) order by id limit ${limit}`,
  );
  return rows.map(({ id }) => id);
}

/**
 * Gives back what volumes hold of their entries: a lease, or a clone's hold on its parent. It is the part `released` of
 * a statement that ends `holds_entry` and answers with `freedColumn`.
 * @param holders what follows `from`: rows with an `entry_id`, as they were before.
 */
export function releaseOf(holders: SQL): SQL {
  return sql`update cache_entries e set clones = e.clones - 1 from (select entry_id from ${holders}) held where e.id = held.entry_id
    returning ${eventColumns}, image_volume, state, clones`;
}

/** The parent that may be deleted now: it is retired and nothing holds it. */
export const freedColumn = sql`(
    select jsonb_build_object('entryId', id, 'imageVolume', image_volume, 'backend', backend) from released where state = 'retired' and clones = 0
  ) as freed`;

export interface Release {
  /** The retired parent that may be deleted now. */
  freedEntry?: FreedEntry;
}

export function parseFreed(row: RawRow | undefined): Release {
  const freed = row?.['freed'] as FreedEntry | null | undefined;
  return freed ? { freedEntry: freed } : {};
}

/**
 * Runs a statement that ends a volume's hold. When it was ended before, the parent that was freed then is told again: a
 * lost reply costs nothing.
 * @param states the volume's, where its hold has ended.
 */
export async function endHold(
  database: Database,
  { volumeId, states, statement }: { volumeId: VolumeId; states: readonly VolumeState[]; statement: SQL },
): Promise<Release> {
  const [row] = await runStatement(database, statement);
  if (row) return parseFreed(row);
  const [again] = await runStatement(
    database,
    sql`with released as (
        select e.id, e.image_volume, e.backend, e.state, e.clones from volumes v join cache_entries e on e.id = v.entry_id
        where v.id = ${volumeId} and v.state = any (${`{${states.join(',')}}`}::text[]) and not v.holds_entry
      ) select ${freedColumn}`,
  );
  return parseFreed(again);
}

/**
 * Ends an available volume's hold on its parent, after its bytes became its own; a volume that is being deleted
 * releases it by itself. Repeated it changes nothing and tells the freed parent again.
 */
export function releaseFlattened(
  database: Database,
  { volumeId, workflowId }: { volumeId: VolumeId; workflowId: string },
): Promise<Release> {
  const detail = `volume ${volumeId} does not need it any more`;
  return endHold(database, {
    volumeId,
    states: ['available'],
    statement: sql`with volume as (
        select id, entry_id from volumes where id = ${volumeId} and state = 'available' and holds_entry for no key update
      ), released as (${releaseOf(sql`volume`)}
      ), noted as (${eventsOf('released', { kind: 'flattened', reason: 'requested', detail, workflowId })})
      update volumes set holds_entry = false, updated_at = now() from volume v where volumes.id = v.id returning ${freedColumn}`,
  });
}
