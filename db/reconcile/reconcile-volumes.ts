import { sql, type SQL } from 'drizzle-orm';
import type { BackendName, VolumeId } from '../../workflows/contract/ids';
import type { VolumeState } from '../../workflows/contract/volume';
import type { Database } from '../client';
import { volumes, type VolumeRow } from '../schema';
import { columnsOf, inTransaction, parseRow, runStatement, uuids } from '../statement';
import { freedColumn, parseFreed, releaseOf, type Release } from '../entries/clones';
import { decisionOf } from '../report/decisions';

/** @returns the rows of these volumes, on whatever backend. */
export async function readVolumes(database: Database, volumeIds: VolumeId[]): Promise<Map<VolumeId, VolumeRow>> {
  if (volumeIds.length === 0) return new Map();
  const rows = await runStatement(
    database,
    sql`select ${columnsOf(volumes)} from volumes where id = any (${uuids(volumeIds)})`,
  );
  return new Map(rows.map((row) => parseRow(volumes, row)).map((row) => [row.id, row]));
}

/** @returns a backend's volumes in a state, by id after `afterId`. */
export async function listVolumesById(
  database: Database,
  { backend, state, afterId, limit }: { backend: BackendName; state: VolumeState; afterId?: VolumeId; limit: number },
): Promise<VolumeRow[]> {
  const rows = await runStatement(
    database,
    sql`select ${columnsOf(volumes)} from volumes where backend = ${backend} and state = ${state}
      and (${afterId ?? null}::uuid is null or id > ${afterId ?? null}::uuid) order by id limit ${limit}`,
  );
  return rows.map((row) => parseRow(volumes, row));
}

/** What a row says that was `available` and whose volume is not on the backend: it becomes `available` again when that is back. */
export const MISSING = 'VolumeNotFound';

/** `available -> error` unless it is attached; it keeps its connection and its hold on its parent. Idempotent. @returns whether this call did it. */
export async function markMissing(
  database: Database,
  { volumeId, message }: { volumeId: VolumeId; message: string },
): Promise<boolean> {
  const rows = await runStatement(
    database,
    sql`update volumes set state = 'error', error_type = ${MISSING}, error_message = ${message}, updated_at = now()
      where id = ${volumeId} and state = 'available' and attached_to is null returning id`,
  );
  return rows.length > 0;
}

/** `error -> available` of a row that was marked missing. Idempotent. @returns whether this call did it. */
export async function markFound(database: Database, { volumeId }: { volumeId: VolumeId }): Promise<boolean> {
  const rows = await runStatement(
    database,
    sql`update volumes set state = 'available', error_type = null, error_message = null, updated_at = now()
      where id = ${volumeId} and state = 'error' and error_type = ${MISSING} and connection is not null and size_bytes is not null returning id`,
  );
  return rows.length > 0;
}

/**
 * Removes what a row that has ended has on the backend, while its row is locked: no create of the same id comes between.
 * @param remove idempotent.  @returns whether the row still was what it was seen as, and `remove` has run.
 */
export function removeBytesOf(
  database: Database,
  { volume, remove }: { volume: VolumeRow; remove: () => Promise<void> },
): Promise<boolean> {
  return inTransaction(database, async (transaction) => {
    const locked = await runStatement(transaction, lockAsSeen(volume));
    if (locked.length === 0) return false;
    await remove();
    return true;
  });
}

/**
 * Ends a create whose run is dead as its own failure would have: what was made is removed, the lease released, the decision recorded, the row `error`.
 * All under the row's lock, so that neither a late step of that run nor the next run of the same volume comes between. Idempotent.
 * @returns undefined when the row is no longer that run's; `freedEntry`: the parent that may be deleted now.
 */
export function endDeadCreate(
  database: Database,
  { volume, remove, message }: { volume: VolumeRow; remove: () => Promise<void>; message: string },
): Promise<Release | undefined> {
  return inTransaction(database, async (transaction) => {
    const locked = await runStatement(transaction, lockAsSeen(volume));
    if (locked.length === 0) return undefined;
    await remove();
    const type = 'CreateCancelled';
    const [row] = await runStatement(
      transaction,
      sql`with settled as (
          update volumes v set state = 'error', holds_entry = false, waits_for_flight = null, activity_id = null, updated_at = now(),
            error_type = ${type}, error_message = ${message}
          where v.id = ${volume.id} returning ${columnsOf(volumes, 'v')}
        ), released as (${releaseOf(sql`volumes where id = ${volume.id} and holds_entry`)}
        ), decided as (${decisionOf('settled', { reason: message, outcome: 'failed', errorType: type })})
        select ${freedColumn} from settled`,
    );
    return parseFreed(row);
  });
}

/** The row, when it still is in the state and of the run that it was seen in. */
export function lockAsSeen({ id, state, runId, holdsEntry, entryId }: VolumeRow): SQL {
  return sql`select id from volumes where id = ${id} and state = ${state} and run_id = ${runId} and holds_entry = ${holdsEntry}
    and entry_id is not distinct from ${entryId}::uuid for no key update`;
}
