import { sql } from 'drizzle-orm';
import type { EntryId, VolumeId } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { runStatement } from '../statement';
import type { FreedParent } from '../types';
import { eventsOf } from './entry-events';

/** @returns the live clones that hold an entry, by id, after `afterVolumeId`. */
export async function listClones(
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

export interface FlattenedRelease {
  /** The retired parent that may be deleted now. */
  freedEntry?: FreedParent;
  /** What it takes on the backend. */
  realBytes: number;
}

/**
 * Ends an available volume's hold on its parent, after its bytes became its own; a volume that is being deleted releases it by itself.
 * Repeated it changes nothing and tells the freed parent again.
 */
export async function releaseFlattened(
  database: Database,
  { volumeId, workflowId }: { volumeId: VolumeId; workflowId: string },
): Promise<FlattenedRelease> {
  await runStatement(
    database,
    sql`with volume as (
        select id, entry_id from volumes where id = ${volumeId} and state = 'available' and holds_entry for no key update
      ), released as (
        update cache_entries e set clones = e.clones - 1 from volume v where e.id = v.entry_id
        returning e.id, e.backend, e.short_key, e.reason, e.reason_detail, e.real_bytes
      ), noted as (
        ${eventsOf(sql`released`, { kind: 'flattened', reason: 'requested', detail: `volume ${volumeId} does not need it any more`, workflowId })}
      )
      update volumes set holds_entry = false, updated_at = now() from volume v where volumes.id = v.id`,
  );
  const [row] = await runStatement<{ [Field in keyof FreedParent]: FreedParent[Field] } & { realBytes: number }>(
    database,
    sql`select e.id as "entryId", e.image_volume as "imageVolume", e.backend, e.real_bytes as "realBytes"
      from volumes v join cache_entries e on e.id = v.entry_id
      where v.id = ${volumeId} and v.state = 'available' and not v.holds_entry and e.state = 'retired' and e.clones = 0`,
  );
  if (row === undefined) return { realBytes: 0 };
  const { entryId, imageVolume, backend, realBytes } = row;
  return { freedEntry: { entryId, imageVolume, backend }, realBytes };
}
