import { and, eq, gt, sql } from 'drizzle-orm/sql';
import type { BackendName, VolumeId } from '../../workflows/contract/ids';
import type { VolumeState } from '../../workflows/contract/volume';
import type { Database } from '../client';
import { volumes, type VolumeRow } from '../schema';
import { columnsOf, inTransaction, query, readRows, runStatement, type Queryable } from '../statement';
import { freed, releaseOf, toRelease, type Release } from '../entries/clones';
import { volumeEventColumns, volumeEventsOf, type EventSource } from '../events';
import { decisionOf } from '../report/decisions';

/** @returns a backend's volumes in a state, by id after `afterId`. */
export function listVolumesById(
  database: Database,
  { backend, state, afterId, limit }: { backend: BackendName; state: VolumeState; afterId?: VolumeId; limit: number },
): Promise<VolumeRow[]> {
  const where = and(eq(volumes.backend, backend), eq(volumes.state, state), afterId && gt(volumes.id, afterId));
  return query(database, (orm) => orm.select().from(volumes).where(where).orderBy(volumes.id).limit(limit));
}

/**
 * The error of a row that was `available` and whose volume is not on the backend. It is `available` again when that is
 * back.
 */
export const MISSING = 'VolumeNotFound';

/**
 * `available -> error` unless it is attached; it keeps its connection and its hold on its parent. Idempotent. @returns
 * whether this call did it.
 */
export async function markMissing(
  database: Database,
  { volumeId, message, source }: { volumeId: VolumeId; message: string; source: EventSource },
): Promise<boolean> {
  const changed = await runStatement(
    database,
    sql`with changed as (
        update volumes set state = 'error', error_type = ${MISSING}, error_message = ${message}, updated_at = now()
        where id = ${volumeId} and state = 'available' and attached_to is null
          and not exists (select from reimages r where r.volume_id = volumes.id) returning ${volumeEventColumns}
      ), noted as (${volumeEventsOf('changed', { kind: 'volume.missing', ...source })})
      select id from changed`,
  );
  return changed > 0;
}

/** `error -> available` of a row that was marked missing. Idempotent. @returns whether this call did it. */
export async function markFound(
  database: Database,
  { volumeId, source }: { volumeId: VolumeId; source: EventSource },
): Promise<boolean> {
  const changed = await runStatement(
    database,
    sql`with changed as (
        update volumes set state = 'available', error_type = null, error_message = null, updated_at = now()
        where id = ${volumeId} and state = 'error' and error_type = ${MISSING} and connection is not null and size_bytes is not null
        returning ${volumeEventColumns}
      ), noted as (${volumeEventsOf('changed', { kind: 'volume.found', ...source })})
      select id from changed`,
  );
  return changed > 0;
}

/**
 * Removes what a row that has ended has on the backend, while its row is locked: no create of the same id comes
 * between.
 * @param remove idempotent.  @returns whether the row still was what it was seen as, and `remove` has run.
 */
export function removeBytesOf(
  database: Database,
  { volume, remove }: { volume: VolumeRow; remove: () => Promise<void> },
): Promise<boolean> {
  return inTransaction(database, async (transaction) => {
    if (!(await lockAsSeen(transaction, volume))) return false;
    await remove();
    return true;
  });
}

/**
 * Ends a create whose run is dead as its own failure would have: its leftovers are removed, the lease released, the
 * decision recorded, the row `error`. All under the row's lock, so that neither a late step of that run nor the next
 * run of the same volume comes between. Idempotent.
 * @returns undefined when the row is no longer that run's; `freedEntry`: the parent that may be deleted now.
 */
export function endDeadCreate(
  database: Database,
  { volume, remove, message }: { volume: VolumeRow; remove: () => Promise<void>; message: string },
): Promise<Release | undefined> {
  return inTransaction(database, async (transaction) => {
    if (!(await lockAsSeen(transaction, volume))) return undefined;
    await remove();
    const type = 'CreateCancelled';
    const [row] = await readRows(
      transaction,
      { freed },
      (columns) => sql`with settled as (
          update volumes v set state = 'error', holds_entry = false, waits_for_flight = null, activity_id = null, updated_at = now(),
            error_type = ${type}, error_message = ${message}
          where v.id = ${volume.id} returning ${columnsOf(volumes, 'v')}
        ), released as (${releaseOf(sql`volumes where id = ${volume.id} and holds_entry`)}
        ), decided as (${decisionOf('settled', { reason: message, outcome: 'failed', errorType: type })})
        select ${columns} from settled`,
    );
    return toRelease(row);
  });
}

/** @returns whether the row, which is locked now, still is in the state and of the run that it was seen in. */
export async function lockAsSeen(
  transaction: Queryable,
  { id, state, runId, holdsEntry, entryId }: VolumeRow,
): Promise<boolean> {
  const locked = await runStatement(
    transaction,
    sql`select from volumes where id = ${id} and state = ${state} and run_id = ${runId} and holds_entry = ${holdsEntry}
      and entry_id is not distinct from ${entryId}::uuid for no key update`,
  );
  return locked > 0;
}
