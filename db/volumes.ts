import { and, desc, eq, sql } from 'drizzle-orm';
import type { BackendName, ImageId, ProjectId, VolumeId } from '../workflows/contract/ids';
import type { VolumeState } from '../workflows/contract/volume';
import type { Database } from './client';
import { endHold, releaseOf, type Release } from './entries/clones';
import { volumes, type VolumeRow } from './schema';
import { isOneOf, query, readRows, readTable, type Queryable } from './statement';

/** States in which a volume that was not `available` at last holds nothing. */
export const ended: readonly VolumeState[] = ['error', 'deleting', 'deleted'];

export type MarkDeletingOutcome =
  | { kind: 'absent' }
  | { kind: 'in-use'; by: string }
  /** A create may still run: cancel exactly this run and wait until it has closed. */
  | { kind: 'creating'; workflowId: string; runId: string; backend: BackendName }
  | { kind: 'delete'; backend: BackendName };

/** `creating`, `available` or `error` `-> deleting`. Repeated it answers the same. Undo: `revertDeleting`. */
export async function markDeleting(
  database: Database,
  { volumeId }: { volumeId: VolumeId },
): Promise<MarkDeletingOutcome> {
  const [row] = await readTable(
    database,
    volumes,
    (columns) => sql`update volumes set state_before_delete = state, state = 'deleting', updated_at = now()
      where id = ${volumeId} and state in ('creating', 'available', 'error') and attached_to is null returning ${columns}`,
  );
  const volume = row ?? (await findVolume(database, { volumeId }));
  if (!volume || volume.state === 'deleted') return { kind: 'absent' };
  if (volume.state !== 'deleting')
    return { kind: 'in-use', by: volume.attachedTo ?? 'an attachment that has just ended' };
  const { workflowId, runId, backend } = volume;
  return volume.stateBeforeDelete === 'creating'
    ? { kind: 'creating', workflowId, runId, backend }
    : { kind: 'delete', backend };
}

export type RestoreOutcome =
  { kind: 'restored'; state: VolumeState } | { kind: 'not-deleting'; state: VolumeState | 'absent' };

/**
 * `deleting ->` what it was before, when the backend has shown that the volume is in use. A create that was cancelled
 * does not come back: `error`.
 */
export async function revertDeleting(
  database: Database,
  { volumeId }: { volumeId: VolumeId },
): Promise<RestoreOutcome> {
  const [row] = await readRows(
    database,
    { state: volumes.state },
    (
      columns,
    ) => sql`update volumes set state = case when state_before_delete = 'creating' then 'error' else state_before_delete end,
        state_before_delete = null, updated_at = now()
      where id = ${volumeId} and state = 'deleting' returning ${columns}`,
  );
  if (row) return { kind: 'restored', state: row.state };
  const volume = await findVolume(database, { volumeId });
  return { kind: 'not-deleting', state: volume?.state ?? 'absent' };
}

/**
 * `deleting -> deleted`, after the backend has confirmed that the volume is absent. Idempotent. @returns the parent
 * whose last clone this was.
 */
export function markDeleted(database: Database, { volumeId }: { volumeId: VolumeId }): Promise<Release> {
  return endHold(database, {
    volumeId,
    states: ended,
    statement: (columns) => sql`with volume as (
        select id, entry_id, holds_entry from volumes where id = ${volumeId} and state = 'deleting' for no key update
      ), settled as (
        update volumes v set state = 'deleted', holds_entry = false, waits_for_flight = null, activity_id = null, connection = null,
          deleted_at = now(), updated_at = now()
        from volume where v.id = volume.id returning v.id
      ), released as (${releaseOf(sql`volume where holds_entry`)})
      select ${columns} from settled`,
  });
}

export async function findVolume(
  database: Database,
  { volumeId }: { volumeId: VolumeId },
): Promise<VolumeRow | undefined> {
  const [row] = await query(database, (orm) => orm.select().from(volumes).where(eq(volumes.id, volumeId)));
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

/** @returns the newest first, after `afterId` in that order; deleted ones only when `state` asks for them. */
export function selectVolumes(
  database: Database,
  request: {
    projectId?: ProjectId;
    backend?: BackendName;
    state?: VolumeState;
    imageId?: ImageId;
    limit: number;
    afterId?: VolumeId;
  },
): Promise<VolumeRow[]> {
  const { projectId, backend, state, imageId, limit, afterId } = request;
  const where = and(
    projectId && eq(volumes.projectId, projectId),
    backend && eq(volumes.backend, backend),
    imageId && eq(volumes.imageId, imageId),
    // Not a parameter: a plan for all values could not use the index of what is not deleted.
    state ? eq(volumes.state, state) : sql`${volumes.state} <> 'deleted'`,
    // Compared in the database: a Date has no microseconds. Two columns against two values: only that begins in the
    // middle of an index.
    afterId &&
      sql`(${volumes.createdAt}, ${volumes.id}) < ((select created_at from volumes where id = ${afterId}), ${afterId}::uuid)`,
  );
  return query(database, (orm) =>
    orm.select().from(volumes).where(where).orderBy(desc(volumes.createdAt), desc(volumes.id)).limit(limit),
  );
}
