import { sql } from 'drizzle-orm/sql';
import type { SnapshotId } from '../workflows/contract/ids';
import type { SnapshotChange, SnapshotState } from '../workflows/contract/snapshot';
import { MAX_METADATA_ENTRIES } from '../workflows/contract/volume-changes';
import type { Database } from './client';
import { snapshotEventsOf, type EventSource } from './events';
import { changeEntries } from './metadata';
import { snapshots, type SnapshotRow } from './schema';
import { isInScope, type ProjectScope } from './scope';
import { columnsOf, inTransaction, json, readTable } from './statement';

export type SnapshotChangeOutcome =
  | { kind: 'absent' }
  /** Only an available snapshot has a status. */
  | { kind: 'not-available'; state: SnapshotState }
  | { kind: 'too-many'; entries: number }
  | { kind: 'changed'; snapshot: SnapshotRow };

/** Changes what of a snapshot is the inventory's alone, with its event. Repeated it changes nothing and answers the same. */
export function updateSnapshot(
  database: Database,
  {
    snapshotId,
    scope,
    change,
    source,
  }: { snapshotId: SnapshotId; scope: ProjectScope; change: SnapshotChange; source: EventSource },
): Promise<SnapshotChangeOutcome> {
  return inTransaction(database, async (transaction) => {
    const [found] = await readTable(
      transaction,
      snapshots,
      (
        columns,
      ) => sql`select ${columns} from snapshots where id = ${snapshotId} and ${isInScope(snapshots.projectId, scope)}
        for no key update`,
    );
    if (found === undefined || found.state === 'deleted') return { kind: 'absent' };
    if (change.status !== undefined && found.state !== 'available')
      return { kind: 'not-available', state: found.state };
    const { columns: to, detail } = changedTo(found, change);
    const entries = Object.keys(to.metadata).length;
    if (entries > MAX_METADATA_ENTRIES) return { kind: 'too-many', entries };
    if (Object.keys(detail).length === 0) return { kind: 'changed', snapshot: found };
    const [changed] = await readTable(
      transaction,
      snapshots,
      (columns) => sql`with changed as (
          update snapshots set name = ${to.name}, description = ${to.description}, metadata = ${json(to.metadata)}, status = ${to.status},
            progress = ${to.progress}, updated_at = now()
          where id = ${snapshotId} and ${isInScope(sql`project_id`, scope)} returning ${columnsOf(snapshots)}
        ), noted as (${snapshotEventsOf('changed', { kind: 'snapshot.changed', detail, ...source })})
        select ${columns} from changed`,
    );
    return { kind: 'changed', snapshot: changed ?? found };
  });
}

/** The columns of a snapshot after a change, and the event's detail: of metadata its keys. */
function changedTo(snapshot: SnapshotRow, change: SnapshotChange) {
  const metadata = changeEntries(snapshot.metadata, { set: change.metadata, unset: change.unsetMetadata });
  const { name = snapshot.name, description = snapshot.description, progress = snapshot.progress } = change;
  const status = change.status === undefined ? snapshot.status : change.status === 'available' ? null : change.status;
  const detail = {
    ...(name !== snapshot.name && { renamed: { from: snapshot.name, to: name } }),
    ...(description !== snapshot.description && { description: { from: snapshot.description, to: description } }),
    ...(status !== snapshot.status && { status: { from: snapshot.status ?? 'available', to: status ?? 'available' } }),
    ...(progress !== snapshot.progress && { progress }),
    ...(metadata.set.length > 0 && { metadataSet: metadata.set }),
    ...(metadata.unset.length > 0 && { metadataUnset: metadata.unset }),
  };
  return { columns: { name, description, status, progress, metadata: metadata.entries }, detail };
}
