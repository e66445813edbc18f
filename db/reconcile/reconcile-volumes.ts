import { and, eq, gt, isNotNull, isNull, sql } from 'drizzle-orm';
import type { BackendName, VolumeId } from '../../workflows/contract/ids';
import type { VolumeState } from '../../workflows/contract/volume';
import type { Database } from '../client';
import { volumes, type VolumeRow } from '../schema';
import { columnsOf, inTransaction, query, readRows, runStatement, type Queryable, transactionTime } from '../statement';
import { freed, releaseOf, toRelease, type Release } from '../entries/clones';
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
  { volumeId, message }: { volumeId: VolumeId; message: string },
): Promise<boolean> {
  const where = and(eq(volumes.id, volumeId), eq(volumes.state, 'available'), isNull(volumes.attachedTo));
  const rows = await query(database, (orm) =>
    orm
      .update(volumes)
      .set({ state: 'error', errorType: MISSING, errorMessage: message, updatedAt: transactionTime })
      .where(where)
      .returning({ id: volumes.id }),
  );
  return rows.length > 0;
}

/** `error -> available` of a row that was marked missing. Idempotent. @returns whether this call did it. */
export async function markFound(database: Database, { volumeId }: { volumeId: VolumeId }): Promise<boolean> {
  const { id, state, errorType, connection, sizeBytes } = volumes;
  const isMissing = and(eq(id, volumeId), eq(state, 'error'), eq(errorType, MISSING));
  const where = and(isMissing, isNotNull(connection), isNotNull(sizeBytes));
  const rows = await query(database, (orm) =>
    orm
      .update(volumes)
      .set({ state: 'available', errorType: null, errorMessage: null, updatedAt: transactionTime })
      .where(where)
      .returning({ id }),
  );
  return rows.length > 0;
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
 * Ends a create whose run is dead as its own failure would have: what was made is removed, the lease released, the
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
