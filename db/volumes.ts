import { and, eq, sql } from 'drizzle-orm/sql';
import type { BackendName, SnapshotId, VolumeId } from '../workflows/contract/ids';
import { deletableStatuses, type HeldStatus, type VolumeState } from '../workflows/contract/volume';
import type { Database } from './client';
import { endHold, releaseOf, type Release } from './entries/clones';
import { volumeEventColumns, volumeEventsOf, type EventSource } from './events';
import { snapshots, volumes, type VolumeRow } from './schema';
import { isInScope, type ProjectScope } from './scope';
import { inTransaction, isOneOf, query, readRows, readTable, texts, type Queryable } from './statement';

/** States in which a volume that was not `available` at last holds nothing. */
export const ended: readonly VolumeState[] = ['error', 'deleting', 'deleted'];

export type MarkDeletingOutcome =
  /** The scope has no such volume, and never had. */
  | { kind: 'absent' }
  /** It was deleted before. */
  | { kind: 'deleted' }
  | { kind: 'in-use'; by: string }
  /** It gets other bytes. */
  | { kind: 'reimaging' }
  /** Its users have it in hand: see `deletableStatuses`. */
  | { kind: 'held'; status: HeldStatus }
  /** Its snapshots go first: the first of many. */
  | { kind: 'has-snapshots'; snapshotIds: SnapshotId[]; backend: BackendName }
  /** A create may still run: cancel exactly this run and wait until it has closed. */
  | { kind: 'creating'; workflowId: string; runId: string; backend: BackendName }
  | { kind: 'delete'; backend: BackendName };

/** Snapshots that are named at once. */
const MAX_NAMED_SNAPSHOTS = 100;

/**
 * `creating`, `available` or `error` `-> deleting`, unless it has snapshots. Repeated it answers the same. Undo: `revertDeleting`.
 * @param forced whether what the row says of an attachment, or of its users, stands in the way no more.
 */
export function markDeleting(
  database: Database,
  { volumeId, scope, forced = false }: { volumeId: VolumeId; scope: ProjectScope; forced?: boolean },
): Promise<MarkDeletingOutcome> {
  return inTransaction(database, async (transaction) => {
    // Locked first: a run that adds a snapshot does so too, and a statement after the lock sees it.
    const locked = await lockVolume(transaction, { volumeId, scope });
    if (locked === undefined) return { kind: 'absent' };
    if (locked.state === 'reimaging') return { kind: 'reimaging' };
    const snapshotIds = await listSnapshotsOf(transaction, { volumeId, limit: MAX_NAMED_SNAPSHOTS });
    if (snapshotIds.length > 0) return { kind: 'has-snapshots', snapshotIds, backend: locked.backend };
    const [row] = await readTable(
      transaction,
      volumes,
      (columns) => sql`update volumes set state_before_delete = state, state = 'deleting', updated_at = now()
        where id = ${volumeId} and ${isInScope(volumes.projectId, scope)} and state in ('creating', 'available', 'error')
          and ((attached_to is null and (status is null or status = any (${texts(deletableStatuses)}))) or ${forced}::boolean)
        returning ${columns}`,
    );
    const volume = row ?? (await findVolume(transaction, { volumeId, scope }));
    if (!volume) return { kind: 'absent' };
    if (volume.state === 'deleted') return { kind: 'deleted' };
    if (volume.state !== 'deleting' && volume.attachedTo === null && volume.status !== null)
      return { kind: 'held', status: volume.status };
    if (volume.state !== 'deleting')
      return { kind: 'in-use', by: volume.attachedTo ?? 'an attachment that has just ended' };
    const { workflowId, runId, backend } = volume;
    return volume.stateBeforeDelete === 'creating'
      ? { kind: 'creating', workflowId, runId, backend }
      : { kind: 'delete', backend };
  });
}

export type RestoreOutcome =
  { kind: 'restored'; state: VolumeState } | { kind: 'not-deleting'; state: VolumeState | 'absent' };

/**
 * `deleting ->` what it was before, with its event, when the backend has shown that the volume is in use. A create that was cancelled
 * does not come back: `error`.
 */
export async function revertDeleting(
  database: Database,
  { volumeId, usedBy, source }: { volumeId: VolumeId; usedBy: string; source: EventSource },
): Promise<RestoreOutcome> {
  const [row] = await readRows(
    database,
    { state: volumes.state },
    (columns) => sql`with changed as (
        update volumes set state = case when state_before_delete = 'creating' then 'error' else state_before_delete end,
          state_before_delete = null, updated_at = now()
        where id = ${volumeId} and state = 'deleting' returning state, ${volumeEventColumns}
      ), noted as (${volumeEventsOf('changed', { kind: 'volume.delete-refused', detail: { usedBy, begun: true }, ...source })})
      select ${columns} from changed`,
  );
  if (row) return { kind: 'restored', state: row.state };
  const volume = await findVolume(database, { volumeId, scope: 'all projects' });
  return { kind: 'not-deleting', state: volume?.state ?? 'absent' };
}

/**
 * `deleting -> deleted`, with its event, after the backend has confirmed that the volume is absent. Idempotent. @returns the parent
 * whose last clone this was.
 */
export function markDeleted(
  database: Database,
  { volumeId, source, forced = false }: { volumeId: VolumeId; source: EventSource; forced?: boolean },
): Promise<Release> {
  return endHold(database, {
    volumeId,
    states: ended,
    statement: (columns) => sql`with volume as (
        select id, entry_id, holds_entry from volumes where id = ${volumeId} and state = 'deleting' for no key update
      ), settled as (
        update volumes v set state = 'deleted', holds_entry = false, waits_for_flight = null, activity_id = null, connection = null,
          deleted_at = now(), updated_at = now()
        from volume where v.id = volume.id returning v.id, v.project_id, v.image_id, v.entry_id, v.backend, v.name, v.size_bytes
      ), detached as (delete from attachments where volume_id in (select id from settled)
      ), released as (${releaseOf(sql`volume where holds_entry`)}
      ), noted as (${volumeEventsOf('settled', { kind: 'volume.deleted', detail: forced ? forcedDetail : deletedDetail, ...source })})
      select ${columns} from settled`,
  });
}

/** Detail of the event of a deleted volume. */
const deletedDetail = sql`jsonb_build_object('name', name, 'sizeBytes', size_bytes)`;
const forcedDetail = sql`${deletedDetail} || '{"forced": true}'::jsonb`;

/** Locks a volume's row until the transaction ends. @returns undefined when the scope has no such volume. */
export async function lockVolume(
  transaction: Queryable,
  { volumeId, scope }: { volumeId: VolumeId; scope: ProjectScope },
): Promise<VolumeRow | undefined> {
  const [volume] = await readTable(
    transaction,
    volumes,
    (columns) => sql`select ${columns} from volumes where id = ${volumeId} and ${isInScope(volumes.projectId, scope)}
      for no key update`,
  );
  return volume;
}

/** @returns a volume's snapshots that are not deleted, the oldest first. */
async function listSnapshotsOf(
  transaction: Queryable,
  { volumeId, limit }: { volumeId: VolumeId; limit: number },
): Promise<SnapshotId[]> {
  const { id, state, createdAt } = snapshots;
  const where = and(eq(snapshots.volumeId, volumeId), sql`${state} <> 'deleted'`);
  const rows = await query(transaction, (orm) =>
    orm.select({ id }).from(snapshots).where(where).orderBy(createdAt, id).limit(limit),
  );
  return rows.map((row) => row.id);
}

export async function findVolume(
  database: Queryable,
  { volumeId, scope }: { volumeId: VolumeId; scope: ProjectScope },
): Promise<VolumeRow | undefined> {
  const where = and(eq(volumes.id, volumeId), isInScope(volumes.projectId, scope));
  // Not by the builder, which takes longer than the database: every request asks for a volume.
  const [row] = await readTable(database, volumes, (columns) => sql`select ${columns} from volumes where ${where}`);
  return row;
}

/** @returns the rows of these volumes, on whatever backend. */
export async function readVolumes(
  database: Queryable,
  volumeIds: readonly VolumeId[],
): Promise<Map<VolumeId, VolumeRow>> {
  if (volumeIds.length === 0) return new Map();
  const where = isOneOf(sql`${volumes.id}`, volumeIds);
  const rows = await query(database, (orm) => orm.select().from(volumes).where(where));
  return new Map(rows.map((row) => [row.id, row]));
}
