import { and, eq, sql } from 'drizzle-orm/sql';
import type { ProjectId, VolumeId } from '../workflows/contract/ids';
import type { VolumeState } from '../workflows/contract/volume';
import {
  MAX_IMAGE_METADATA_ENTRIES,
  MAX_METADATA_ENTRIES,
  type VolumeChange,
} from '../workflows/contract/volume-changes';
import type { Database } from './client';
import { volumeEventsOf, type EventSource } from './events';
import { changeEntries } from './metadata';
import type { OverQuota } from './room';
import { volumes, type VolumeRow } from './schema';
import { isInScope, type ProjectScope } from './scope';
import { cast, columnsOf, inTransaction, json, query, readRows, readTable, type Queryable } from './statement';

export type ChangeOutcome =
  | { kind: 'absent' }
  | { kind: 'deleting' }
  /** Only an available volume has a status. */
  | { kind: 'not-available'; state: VolumeState }
  /** It would have more metadata than a volume may have. Nothing is changed. */
  | { kind: 'too-many'; field: 'metadata' | 'imageMetadata'; entries: number; most: number }
  /** Of its new type. Nothing is changed. */
  | (OverQuota & { projectId: ProjectId })
  | { kind: 'changed'; volume: VolumeRow };

/** Changes what of a volume is the inventory's alone, with its event. Repeated it changes nothing and answers the same. */
export function updateVolume(
  database: Database,
  {
    volumeId,
    scope,
    change,
    type,
    source,
  }: {
    volumeId: VolumeId;
    scope: ProjectScope;
    change: VolumeChange;
    /** The one that `change` names. */
    type?: Pick<VolumeRow, 'volumeType' | 'volumeTypeId' | 'multiattach'>;
    source: EventSource;
  },
): Promise<ChangeOutcome> {
  return inTransaction(database, async (transaction) => {
    const [found] = await query(transaction, (orm) =>
      orm
        .select()
        .from(volumes)
        .where(and(eq(volumes.id, volumeId), isInScope(volumes.projectId, scope)))
        .for('no key update'),
    );
    if (found === undefined || found.state === 'deleted') return { kind: 'absent' };
    if (found.state === 'deleting') return { kind: 'deleting' };
    if (change.status !== undefined && found.state !== 'available')
      return { kind: 'not-available', state: found.state };
    const { columns: to, detail } = changedTo(found, { ...change, type });
    const metadataEntries = Object.keys(to.metadata).length;
    if (metadataEntries > MAX_METADATA_ENTRIES)
      return { kind: 'too-many', field: 'metadata', entries: metadataEntries, most: MAX_METADATA_ENTRIES };
    const imageEntries = Object.keys(to.imageMetadata).length;
    if (imageEntries > MAX_IMAGE_METADATA_ENTRIES)
      return { kind: 'too-many', field: 'imageMetadata', entries: imageEntries, most: MAX_IMAGE_METADATA_ENTRIES };
    if (Object.keys(detail).length === 0) return { kind: 'changed', volume: found };
    if (to.volumeType !== found.volumeType) {
      const overQuota = await quotaOfType(transaction, found, to.volumeType);
      if (overQuota !== null) return { kind: 'over-quota', projectId: found.projectId, ...overQuota };
    }
    const [changed] = await readTable(
      transaction,
      volumes,
      (columns) => sql`with changed as (
          update volumes set name = ${to.name}, description = ${to.description}, metadata = ${json(to.metadata)}, bootable = ${to.bootable},
            image_metadata = ${json(to.imageMetadata)}, read_only = ${to.readOnly}, status = ${to.status},
            volume_type = ${to.volumeType}, volume_type_id = ${to.volumeTypeId}::uuid, multiattach = ${to.multiattach}, updated_at = now()
          where id = ${volumeId} and ${isInScope(sql`project_id`, scope)} returning ${columnsOf(volumes)}
        ), noted as (${volumeEventsOf('changed', { kind: 'volume.changed', detail, ...source })})
        select ${columns} from changed`,
    );
    return { kind: 'changed', volume: changed ?? found };
  });
}

/** @returns the quota of a type that does not allow one more volume of it; null where all do. It counts from the commit on. */
async function quotaOfType(
  on: Queryable,
  { projectId, sizeBytes }: VolumeRow,
  volumeType: string | null,
): Promise<Omit<OverQuota, 'kind'> | null> {
  const [row] = await readRows(
    on,
    { overQuota: cast.json<Omit<OverQuota, 'kind'> | null>(sql`over_quota`) },
    (columns) => sql`select ${columns} from (
        select type_quota_room(quota_limits(${projectId}), ${projectId}, ${volumeType}::text, 1, ${sizeBytes ?? 0}::bigint, 0) as over_quota
      ) room`,
  );
  return row?.overQuota ?? null;
}

/** The columns of a volume after a change, and the event's detail: of metadata its keys. */
function changedTo(
  volume: VolumeRow,
  {
    type = volume,
    ...change
  }: VolumeChange & { type?: Pick<VolumeRow, 'volumeType' | 'volumeTypeId' | 'multiattach'> },
) {
  const metadata = changeEntries(volume.metadata, { set: change.metadata, unset: change.unsetMetadata });
  const imageMetadata = changeEntries(volume.imageMetadata, {
    set: change.imageMetadata,
    unset: change.unsetImageMetadata,
  });
  const { name = volume.name, description = volume.description } = change;
  const { bootable = volume.bootable, readOnly = volume.readOnly } = change;
  const status = change.status === undefined ? volume.status : change.status === 'available' ? null : change.status;
  const detail = {
    ...(name !== volume.name && { name: { from: volume.name, to: name } }),
    ...(description !== volume.description && { description: { from: volume.description, to: description } }),
    ...(bootable !== volume.bootable && { bootable }),
    ...(readOnly !== volume.readOnly && { readOnly }),
    ...(type.volumeType !== volume.volumeType && { volumeType: { from: volume.volumeType, to: type.volumeType } }),
    ...(status !== volume.status && { status: { from: volume.status ?? 'available', to: status ?? 'available' } }),
    ...(metadata.set.length > 0 && { metadataSet: metadata.set }),
    ...(metadata.unset.length > 0 && { metadataUnset: metadata.unset }),
    ...(imageMetadata.set.length > 0 && { imageMetadataSet: imageMetadata.set }),
    ...(imageMetadata.unset.length > 0 && { imageMetadataUnset: imageMetadata.unset }),
  };
  const columns = {
    name,
    description,
    bootable,
    readOnly,
    status,
    volumeType: type.volumeType,
    volumeTypeId: type.volumeTypeId,
    multiattach: type.multiattach,
    metadata: metadata.entries,
    imageMetadata: imageMetadata.entries,
  };
  return { columns, detail };
}
