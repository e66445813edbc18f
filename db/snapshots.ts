import { and, eq, gt, sql, type SQL } from 'drizzle-orm/sql';
import { getTableColumns } from 'drizzle-orm/utils';
import { isCalled } from './called';
import type { Caller } from '../workflows/contract/event-kinds';
import type { BackendName, EntryId, ProjectId, SnapshotId, VolumeId } from '../workflows/contract/ids';
import type { HeldSnapshotStatus, SnapshotOrder, SnapshotSort, SnapshotState } from '../workflows/contract/snapshot';
import type { VolumeState } from '../workflows/contract/volume';
import type { Database } from './client';
import type { OverQuota } from './room';
import { freed, releaseOf, toRelease, type Release } from './entries/clones';
import { snapshotEventsOf, type EventSource } from './events';
import { snapshots, type SnapshotRow, type VolumeRow } from './schema';
import { lockVolume } from './volumes';
import { isInScope, type ProjectScope } from './scope';
import {
  cast,
  columnsOf,
  inTransaction,
  isOneOf,
  json,
  query,
  readRows,
  readTable,
  runStatement,
  type Queryable,
} from './statement';

interface Admittance extends Caller {
  snapshotId: SnapshotId;
  volumeId: VolumeId;
  /** Whose volume it may be. */
  scope: ProjectScope;
  name: string | null;
  description: string | null;
  metadata: Record<string, string>;
  /** Default: false. See the schema. */
  forCopy?: boolean;
  workflowId: string;
  runId: string;
  /** A run that is known to do nothing more: its row is taken over. */
  deadRunId?: string;
}

export type InsertSnapshotOutcome =
  | { kind: 'admitted'; snapshot: SnapshotRow }
  /** The same request was done before. */
  | { kind: 'available'; snapshot: SnapshotRow }
  | { kind: 'volume-absent' }
  | { kind: 'volume-state'; state: VolumeState }
  | { kind: 'conflict' | 'deleted' }
  | (OverQuota & { projectId: ProjectId })
  /** Another run makes it, for the same request. */
  | { kind: 'busy'; workflowId: string; runId: string };

/**
 * Makes a snapshot's row `creating` for this run, with its hold on the parent that its volume needs: a new one, one in `error`, or that of the dead run
 * which the caller has found. The volume's row is locked meanwhile, so that no delete of it comes between. Repeated by the same run it is `admitted`
 * again. Undo: `markSnapshotFailed`.
 */
export function insertSnapshot(database: Database, request: Admittance): Promise<InsertSnapshotOutcome> {
  return inTransaction(database, async (transaction) => {
    const volume = await lockVolume(transaction, request);
    if (volume === undefined || volume.state === 'deleted') return { kind: 'volume-absent' };
    const existing = await lockSnapshot(transaction, request.snapshotId);
    const inTheWay = existing && whatIsInTheWay(existing, volume, request);
    if (inTheWay !== undefined) return inTheWay;
    if (volume.state !== 'available' || volume.sizeBytes === null) return { kind: 'volume-state', state: volume.state };
    const { snapshot, overQuota } = await writeSnapshot(transaction, request, volume);
    if (snapshot === undefined) return { kind: 'over-quota', projectId: volume.projectId, ...overQuota };
    const holds = volume.holdsEntry && existing?.holdsEntry !== true;
    if (holds && (await runStatement(transaction, holdOf(volume.entryId))) === 0)
      throw new Error(`volume ${volume.id} holds an entry that is gone`);
    return { kind: 'admitted', snapshot };
  });
}

async function lockSnapshot(on: Queryable, snapshotId: SnapshotId): Promise<SnapshotRow | undefined> {
  const [snapshot] = await readTable(
    on,
    snapshots,
    (columns) => sql`select ${columns} from snapshots where id = ${snapshotId} for no key update`,
  );
  return snapshot;
}

/** @returns undefined when the row can be taken. */
function whatIsInTheWay(
  existing: SnapshotRow,
  volume: VolumeRow,
  { name, runId, deadRunId }: Admittance,
): InsertSnapshotOutcome | undefined {
  // Another project's snapshot is not told of.
  if (existing.volumeId !== volume.id || existing.name !== name) return { kind: 'conflict' };
  if (existing.state === 'deleting' || existing.state === 'deleted') return { kind: 'deleted' };
  if (existing.state === 'available') return { kind: 'available', snapshot: existing };
  if (existing.state === 'creating' && existing.runId !== runId && existing.runId !== deadRunId)
    return { kind: 'busy', workflowId: existing.workflowId, runId: existing.runId };
  return undefined;
}

/** @returns no snapshot where a quota does not allow it: the same statement asks and writes. */
async function writeSnapshot(
  on: Queryable,
  request: Admittance,
  volume: VolumeRow,
): Promise<{ snapshot: SnapshotRow; overQuota?: null } | { snapshot?: undefined; overQuota: Omit<OverQuota, 'kind'> }> {
  const { snapshotId, name, description, metadata, forCopy = false, workflowId, runId, by, requestId } = request;
  const fields = {
    ...getTableColumns(snapshots),
    isWritten: cast.boolean(sql`written.id is not null`),
    overQuota: cast.json<Omit<OverQuota, 'kind'> | null>(sql`room.over_quota`),
  };
  const [row] = await readRows(
    on,
    fields,
    (columns) => sql`with room as materialized (
        select snapshot_quota_room(${!forCopy}::boolean, ${volume.projectId}, ${snapshotId}::uuid, ${volume.sizeBytes}::bigint, ${volume.volumeType}::text) as over_quota
      ), written as (
        insert into snapshots as s (id, project_id, volume_id, backend, name, description, metadata, size_bytes, state, entry_id,
          holds_entry, workflow_id, run_id, requested_by, request_id, for_copy)
        select ${snapshotId}::uuid, ${volume.projectId}, ${volume.id}::uuid, ${volume.backend}, ${name}, ${description}, ${json(metadata)},
          ${volume.sizeBytes}::bigint, 'creating', ${volume.holdsEntry ? volume.entryId : null}::uuid, ${volume.holdsEntry}::boolean, ${workflowId}, ${runId},
          ${by ?? null}, ${requestId ?? null}, ${forCopy}::boolean
        from room where over_quota is null
        on conflict (id) do update set state = 'creating', entry_id = case when s.holds_entry then s.entry_id else excluded.entry_id end,
          holds_entry = s.holds_entry or excluded.holds_entry, workflow_id = excluded.workflow_id, run_id = excluded.run_id,
          given_up = s.given_up and s.state = 'creating' and s.run_id = excluded.run_id, error_type = null, error_message = null,
          requested_by = excluded.requested_by, request_id = excluded.request_id, updated_at = now()
        returning ${columnsOf(snapshots)}
      ) select ${columns} from room left join written on true`,
  );
  if (row === undefined) throw new Error(`snapshot ${snapshotId} was not written`);
  const { isWritten, overQuota, ...snapshot } = row;
  if (isWritten) return { snapshot };
  if (overQuota === null) throw new Error(`snapshot ${snapshotId} was not written`);
  return { overQuota };
}

/** A holder of an entry may let another hold it too, also when it is retired. */
function holdOf(entryId: EntryId | null): SQL {
  return sql`update cache_entries set clones = clones + 1 where id = ${entryId}::uuid and state in ('ready', 'retired')`;
}

export type CompleteSnapshotOutcome =
  { kind: 'completed'; snapshot: SnapshotRow } | { kind: 'not-creating'; state: SnapshotState | 'absent' };

/** `creating -> available`, with its event. Repeated by the same run it is `completed` again. */
export async function completeSnapshot(
  database: Database,
  { snapshotId, sizeBytes, source }: { snapshotId: SnapshotId; sizeBytes: number; source: EventSource },
): Promise<CompleteSnapshotOutcome> {
  const { runId } = source;
  const [completed] = await readTable(
    database,
    snapshots,
    (columns) => sql`with changed as (
        update snapshots set state = 'available', size_bytes = ${sizeBytes}, available_at = now(), updated_at = now()
        where id = ${snapshotId} and run_id = ${runId} and state = 'creating' and not given_up returning ${columnsOf(snapshots)}
      ), noted as (${snapshotEventsOf('changed', { kind: 'snapshot.created', ...source })})
      select ${columns} from changed`,
  );
  if (completed) return { kind: 'completed', snapshot: completed };
  const found = await findSnapshot(database, { snapshotId, scope: 'all projects' });
  if (found?.state === 'available' && found.runId === runId) return { kind: 'completed', snapshot: found };
  return { kind: 'not-creating', state: found?.state ?? 'absent' };
}

/**
 * Lets a run go on with a row that an earlier run of its workflow had, which a reset has ended. Compare-and-set.
 * @returns whether it is this run's by this call.
 */
export async function takeOverSnapshot(
  database: Database,
  { snapshotId, earlierRunId, runId }: { snapshotId: SnapshotId; earlierRunId: string; runId: string },
): Promise<boolean> {
  const taken = await readRows(
    database,
    { id: snapshots.id },
    (
      columns,
    ) => sql`update snapshots set state = 'creating', run_id = ${runId}, given_up = false, error_type = null, error_message = null,
        updated_at = now()
      where id = ${snapshotId} and run_id = ${earlierRunId} and state in ('creating', 'error') returning ${columns}`,
  );
  return taken.length > 0;
}

/**
 * Removes what was made of a snapshot that its run undoes: no step of this run, however late, makes it `available` from here on. The row is locked
 * meanwhile. Idempotent. @param remove idempotent.
 */
export function removeGivenUpSnapshot(
  database: Database,
  { snapshotId, runId, remove }: { snapshotId: SnapshotId; runId: string; remove: () => Promise<void> },
): Promise<void> {
  return inTransaction(database, async (transaction) => {
    const given = await readRows(
      transaction,
      { id: snapshots.id },
      (
        columns,
      ) => sql`update snapshots set given_up = true, updated_at = now() where id = ${snapshotId} and run_id = ${runId}
        and (state = 'creating' or (state = 'deleting' and state_before_delete = 'creating')) returning ${columns}`,
    );
    if (given.length > 0) await remove();
  });
}

/** Removes what a late step has made of a snapshot that has ended, or that this run undoes. The row is locked meanwhile. Idempotent. */
export function removeSnapshotOrphan(
  database: Database,
  { snapshotId, runId, remove }: { snapshotId: SnapshotId; runId: string; remove: () => Promise<void> },
): Promise<void> {
  return inTransaction(database, async (transaction) => {
    const row = await lockSnapshot(transaction, snapshotId);
    const isUndone = row?.givenUp === true && row.runId === runId;
    if (row?.state !== 'available' && !(row?.state === 'creating' && !isUndone)) await remove();
  });
}

/** Of a statement that ends a snapshot's hold. When it was ended before, the parent that was freed is told again: a lost reply costs nothing. */
async function endHold(
  database: Database,
  { snapshotId, statement }: { snapshotId: SnapshotId; statement: (columns: SQL) => SQL },
): Promise<Release> {
  const [row] = await readRows(database, { freed }, statement);
  if (row) return toRelease(row);
  const [again] = await readRows(
    database,
    { freed },
    (columns) => sql`with released as (
        select e.id, e.image_volume, e.backend, e.state, e.clones from snapshots s join cache_entries e on e.id = s.entry_id
        where s.id = ${snapshotId} and s.state in ('error', 'deleted') and not s.holds_entry
      ) select ${columns}`,
  );
  return toRelease(again);
}

/**
 * Ends a snapshot that failed (`error`) or was cancelled (`deleted`), after what was made of it was removed. A row that a delete has taken over stays
 * `deleting`; one of a later run is left alone. Idempotent.
 */
export async function markSnapshotFailed(
  database: Database,
  {
    snapshotId,
    error,
    source,
  }: {
    snapshotId: SnapshotId;
    /** The error that the user may read; absent: cancelled. */
    error?: { type: string; message: string };
    source: EventSource;
  },
): Promise<Release> {
  const to = error === undefined ? 'deleted' : 'error';
  const detail = error && { error: error.type, reason: error.message };
  return await endHold(database, {
    snapshotId,
    statement: (columns) => sql`with snapshot as (
        select id, entry_id, holds_entry from snapshots where id = ${snapshotId} and run_id = ${source.runId}
          and (state = 'creating' or (state = 'deleting' and state_before_delete = 'creating')) for no key update
      ), settled as (
        update snapshots s set state = case when s.state = 'creating' then ${to} else s.state end, holds_entry = false, updated_at = now(),
          deleted_at = case when s.state = 'creating' and ${error === undefined} then now() end,
          error_type = ${error?.type ?? null}, error_message = ${error?.message ?? null}
        from snapshot where s.id = snapshot.id returning ${columnsOf(snapshots, 's')}
      ), released as (${releaseOf(sql`snapshot where holds_entry`)}
      ), noted as (${snapshotEventsOf('settled', { kind: 'snapshot.create-failed', detail, ...source })})
      select ${columns} from settled`,
  });
}

export type DeletingSnapshot =
  /** The scope has no such snapshot, and never had. */
  | { kind: 'absent' }
  /** It was deleted before. */
  | { kind: 'deleted' }
  /** Its create may still run: cancel exactly this run and wait until it has closed. */
  | { kind: 'creating'; workflowId: string; runId: string; backend: BackendName; volumeId: VolumeId }
  | { kind: 'delete'; backend: BackendName; volumeId: VolumeId };

/** `creating`, `available` or `error` `-> deleting`. Repeated it answers the same. */
export async function markSnapshotDeleting(
  database: Database,
  { snapshotId, scope }: { snapshotId: SnapshotId; scope: ProjectScope },
): Promise<DeletingSnapshot> {
  const [marked] = await readTable(
    database,
    snapshots,
    (columns) => sql`update snapshots set state_before_delete = state, state = 'deleting', updated_at = now()
      where id = ${snapshotId} and ${isInScope(snapshots.projectId, scope)} and state in ('creating', 'available', 'error')
      returning ${columns}`,
  );
  const snapshot = marked ?? (await findSnapshot(database, { snapshotId, scope }));
  if (!snapshot) return { kind: 'absent' };
  if (snapshot.state === 'deleted') return { kind: 'deleted' };
  const { workflowId, runId, backend, volumeId, stateBeforeDelete } = snapshot;
  return stateBeforeDelete === 'creating'
    ? { kind: 'creating', workflowId, runId, backend, volumeId }
    : { kind: 'delete', backend, volumeId };
}

/** `deleting -> deleted`, with its event, after the backend has confirmed that it is absent. Idempotent. @returns the parent whose last holder this was. */
export async function markSnapshotDeleted(
  database: Database,
  { snapshotId, source }: { snapshotId: SnapshotId; source: EventSource },
): Promise<Release> {
  return await endHold(database, {
    snapshotId,
    statement: (columns) => sql`with snapshot as (
        select id, entry_id, holds_entry from snapshots where id = ${snapshotId} and state = 'deleting' for no key update
      ), settled as (
        update snapshots s set state = 'deleted', holds_entry = false, deleted_at = now(), updated_at = now()
        from snapshot where s.id = snapshot.id returning ${columnsOf(snapshots, 's')}
      ), released as (${releaseOf(sql`snapshot where holds_entry`)}
      ), noted as (${snapshotEventsOf('settled', { kind: 'snapshot.deleted', ...source })})
      select ${columns} from settled`,
  });
}

export async function findSnapshot(
  database: Queryable,
  { snapshotId, scope }: { snapshotId: SnapshotId; scope: ProjectScope },
): Promise<SnapshotRow | undefined> {
  const where = and(eq(snapshots.id, snapshotId), isInScope(snapshots.projectId, scope));
  const [row] = await query(database, (orm) => orm.select().from(snapshots).where(where));
  return row;
}

/** @returns the rows of these snapshots, on whatever backend. */
export async function readSnapshots(
  database: Queryable,
  snapshotIds: readonly SnapshotId[],
): Promise<Map<SnapshotId, SnapshotRow>> {
  if (snapshotIds.length === 0) return new Map();
  const where = isOneOf(sql`${snapshots.id}`, snapshotIds);
  const rows = await query(database, (orm) => orm.select().from(snapshots).where(where));
  return new Map(rows.map((row) => [row.id, row]));
}

/** @returns a backend's snapshots in a state, by id after `afterId`. */
export function listSnapshotsById(
  database: Database,
  {
    backend,
    state,
    afterId,
    limit,
  }: { backend: BackendName; state: SnapshotState; afterId?: SnapshotId; limit: number },
): Promise<SnapshotRow[]> {
  const where = and(eq(snapshots.backend, backend), eq(snapshots.state, state), afterId && gt(snapshots.id, afterId));
  return query(database, (orm) => orm.select().from(snapshots).where(where).orderBy(snapshots.id).limit(limit));
}

/** Orders of a list, each by what stands in its rows; equal ones follow each other by their ids. */
const orders = {
  createdAt: sql`created_at`,
  name: sql`coalesce(name, '')`,
  id: sql`id`,
} satisfies Record<SnapshotOrder, SQL>;

/**
 * @param sort default: the newest first.
 * @returns those after `afterId` in that order; deleted ones only when `state` asks for them.
 */
export function selectSnapshots(
  database: Database,
  request: {
    scope: ProjectScope;
    backend?: BackendName;
    volumeId?: VolumeId;
    state?: SnapshotState;
    /** The status that an `available` one was given; null: none. */
    status?: HeldSnapshotStatus | null;
    name?: string;
    /** A name, or the beginning of an id. */
    called?: string;
    /** Those that have all of it. */
    metadata?: Record<string, string>;
    sort?: SnapshotSort;
    limit: number;
    /** How many of those are passed over. */
    offset?: number;
    afterId?: SnapshotId;
  },
): Promise<SnapshotRow[]> {
  const { scope, backend, volumeId, state, status, name, called, metadata, limit, offset = 0, afterId } = request;
  const { by, descending } = request.sort ?? { by: 'createdAt', descending: true };
  const key = orders[by];
  const where = and(
    isInScope(snapshots.projectId, scope),
    backend && eq(snapshots.backend, backend),
    volumeId && eq(snapshots.volumeId, volumeId),
    state ? eq(snapshots.state, state) : sql`${snapshots.state} <> 'deleted'`,
    status === undefined ? undefined : sql`${snapshots.status} is not distinct from ${status}`,
    name === undefined ? undefined : eq(snapshots.name, name),
    called === undefined ? undefined : isCalled(called, snapshots),
    metadata && sql`${snapshots.metadata} @> ${json(metadata)}`,
    afterId &&
      sql`(${key}, id) ${sql.raw(descending ? '<' : '>')} ((
        select ${key} from snapshots s where s.id = ${afterId} and ${isInScope(sql`s.project_id`, scope)}
      ), ${afterId}::uuid)`,
  );
  const direction = sql.raw(descending ? 'desc' : 'asc');
  return query(database, (orm) =>
    orm
      .select()
      .from(snapshots)
      .where(where)
      .orderBy(sql`${key} ${direction}`, sql`id ${direction}`)
      .limit(limit)
      .offset(offset),
  );
}
