import { sql, type SQL } from 'drizzle-orm/sql';
import type { BackendName, ProjectId, VolumeId } from '../workflows/contract/ids';
import type { HeldStatus, VolumeState } from '../workflows/contract/volume';
import type { Database } from './client';
import { recordVolumeEvent, volumeEventColumns, volumeEventsOf, type EventSource } from './events';
import { refusalIn, roomFields, roomFor, type NoRoom, type OverQuota, type PromiseLimit } from './room';
import type { ProjectScope } from './scope';
import { cast, inTransaction, readRows, runStatement, texts } from './statement';
import { findVolume } from './volumes';

/** Each try that ends without an answer has met a change of the row, or of what the backend has promised. */
const RACE_TRIES = 5;

/** Statuses in which an `available` volume may grow: programs that have it open go on with it. */
const extendable: readonly HeldStatus[] = ['in-use', 'extending', 'error_extending'];

export type ExtensionOutcome =
  | { kind: 'absent' }
  | { kind: 'not-available'; state: VolumeState | HeldStatus }
  /** It is larger than that. */
  | { kind: 'smaller'; formerSizeBytes: number }
  /** The backend would promise more than it may. Nothing is written. */
  | (NoRoom & { backend: BackendName })
  | (OverQuota & { projectId: ProjectId })
  | { kind: 'promised'; backend: BackendName; formerSizeBytes: number };

/**
 * Gives an available volume's row a larger size, which is promised, and counted against its project's quotas, in the same transaction:
 * however many grow at once, they never overshoot. Repeated it is `promised` again. Undo: `revertExtension`.
 */
export async function promiseExtension(
  database: Database,
  {
    volumeId,
    scope,
    sizeBytes,
    limitOf,
  }: {
    volumeId: VolumeId;
    scope: ProjectScope;
    sizeBytes: number;
    /** The limit to which all volumes of the backend may grow together. */
    limitOf: (backend: BackendName) => Promise<PromiseLimit>;
  },
): Promise<ExtensionOutcome> {
  for (let attempt = 1; attempt <= RACE_TRIES; attempt += 1) {
    const found = await findVolume(database, { volumeId, scope });
    if (found === undefined || found.state === 'deleted') return { kind: 'absent' };
    const { backend, projectId, volumeType, state, status, sizeBytes: former } = found;
    if (state !== 'available' || former === null) return { kind: 'not-available', state };
    if (status !== null && !extendable.includes(status)) return { kind: 'not-available', state: status };
    if (sizeBytes < former) return { kind: 'smaller', formerSizeBytes: former };
    const promised = { kind: 'promised', backend, formerSizeBytes: former } as const;
    if (sizeBytes === former) return promised;
    const limit = await limitOf(backend);
    const room = await promise(database, { volumeId, projectId, volumeType, backend, sizeBytes, former, limit });
    if (room.isWritten) return promised;
    const refusal = refusalIn(room, sizeBytes - former);
    if (refusal?.kind === 'no-room') return { ...refusal, backend };
    if (refusal !== undefined) return { ...refusal, projectId };
  }
  throw new Error(`volume ${volumeId} changed ${RACE_TRIES} times while it was extended`);
}

/** Compare-and-set on the size that was found. */
async function promise(
  database: Database,
  wanted: {
    volumeId: VolumeId;
    projectId: ProjectId;
    volumeType: string | null;
    backend: BackendName;
    sizeBytes: number;
    former: number;
    limit: PromiseLimit;
  },
) {
  const { volumeId, projectId, volumeType, backend, sizeBytes, former, limit } = wanted;
  const fields = { ...roomFields, isWritten: cast.boolean(sql`extended.id is not null`) };
  const [row] = await readRows(
    database,
    fields,
    (columns) => sql`with room as materialized (
        ${roomFor({ backend, projectId, volumeType, volumeIds: [volumeId], sizeBytes, limit })}
      ), extended as (
        update volumes set size_bytes = ${sizeBytes}, status = coalesce(nullif(status, 'error_extending'), 'extending'), updated_at = now() from room
        where volumes.id = ${volumeId} and state = 'available' and size_bytes = ${former} and room.fits and room.over_quota is null
          and (status is null or status = any (${texts(extendable)}))
        returning volumes.id
      )
      select ${columns} from room left join extended on true`,
  );
  if (!row) throw new Error(`backend ${backend} is not registered`);
  return row;
}

/**
 * Grows a volume to what its row has promised, with its event, while the row is locked: so one grows it at a time, and a late try after
 * an undo does nothing. Idempotent.
 * @param grow makes it so large on the backend; it may be there already.
 * @returns what `grow` said; undefined when the row no longer has that size, or is not available.
 */
export function growPromised<Grown extends { formerSizeBytes: number } | undefined>(
  database: Database,
  {
    volumeId,
    sizeBytes,
    source,
    grow,
  }: { volumeId: VolumeId; sizeBytes: number; source: EventSource; grow: () => Promise<Grown> },
): Promise<Grown | undefined> {
  return inTransaction(database, async (transaction) => {
    const locked = await runStatement(
      transaction,
      sql`select from volumes where id = ${volumeId} and state = 'available' and size_bytes >= ${sizeBytes} for no key update`,
    );
    if (locked === 0) return undefined;
    const grown = await grow();
    await runStatement(transaction, endExtending({ volumeId, sizeBytes }));
    if (grown !== undefined && grown.formerSizeBytes < sizeBytes) {
      const detail = { from: grown.formerSizeBytes, to: sizeBytes };
      await recordVolumeEvent(transaction, { kind: 'volume.extended', volumeId, detail, ...source });
    }
    return grown;
  });
}

/** One that grows further goes on with it. */
function endExtending({ volumeId, sizeBytes }: { volumeId: VolumeId; sizeBytes: number }): SQL {
  return sql`update volumes set status = null, updated_at = now()
    where id = ${volumeId} and state = 'available' and status = 'extending' and size_bytes = ${sizeBytes}`;
}

/** Gives back the size that a volume was promised and does not have, with its event. Idempotent. @param actualBytes what it has. */
export async function revertExtension(
  database: Database,
  {
    volumeId,
    sizeBytes,
    actualBytes,
    source,
  }: { volumeId: VolumeId; sizeBytes: number; actualBytes: number; source: EventSource },
): Promise<void> {
  const detail = { to: sizeBytes };
  await runStatement(database, endExtending({ volumeId, sizeBytes: actualBytes }));
  await runStatement(
    database,
    sql`with changed as (
        update volumes set size_bytes = ${actualBytes}, status = nullif(status, 'extending'), updated_at = now()
        where id = ${volumeId} and size_bytes = ${sizeBytes} and ${actualBytes}::bigint < ${sizeBytes}::bigint and state = 'available'
        returning ${volumeEventColumns}
      ) ${volumeEventsOf('changed', { kind: 'volume.extend-failed', detail, ...source })}`,
  );
}
