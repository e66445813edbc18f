import { eq, getTableColumns, sql } from 'drizzle-orm';
import type { BackendName, ImageId, ProjectId, VolumeId } from '../workflows/contract/ids';
import type { Connection, Outcome, VolumeState } from '../workflows/contract/volume';
import type { Database } from './client';
import { endHold, freed, releaseOf, toRelease, type Release } from './entries/clones';
import { type DecisionNote, decisionOf } from './report/decisions';
import { volumes, type VolumeRow } from './schema';
import { cast, columnsOf, inTransaction, json, query, readRows, runStatement } from './statement';
import { ended, findVolume } from './volumes';

/** How often a statement is tried again that lost a race against another one of the same volume. */
const RACE_TRIES = 5;

interface Admittance {
  volumeId: VolumeId;
  projectId: ProjectId;
  name: string | null;
  backend: BackendName;
  imageId: ImageId;
  shortKey: string;
  /** The caller's request in canonical form: two requests are the same when these are equal as JSON. */
  request: object;
  /** Null until the image's virtual size is known. */
  sizeBytes: number | null;
  imageMetadata: Record<string, string>;
  metadata: Record<string, string>;
  workflowId: string;
  runId: string;
  /** A run that is known to do nothing more: this run gets its row. */
  deadRunId?: string;
  /** All volumes of the backend may grow to so much together; absent: no limit. */
  promise?: PromiseLimit;
}

/** `overSubscription` times the space of the backend's place: `totalBytes`, or what its row has seen last. */
export interface PromiseLimit {
  overSubscription: number;
  totalBytes?: number;
}

export type InsertVolumeOutcome =
  | { kind: 'admitted'; volume: VolumeRow }
  /** The backend would promise more than it may. Nothing is written. */
  | { kind: 'no-room'; promisedBytes: number; mostBytes: number }
  /** The same request was done before. */
  | { kind: 'available'; volume: VolumeRow }
  | { kind: 'conflict'; found: string }
  | { kind: 'deleted' }
  /** Another run makes this volume, for the same request. */
  | { kind: 'busy'; workflowId: string; runId: string };
/**
 * Makes the volume's row `creating` for this run: a new one, one that is in `error`, or one of the dead run that the
 * caller has found; that one keeps its lease. Repeated by the same run it is `admitted` again. Its size is promised in
 * the same transaction: however many are admitted at once, they never overshoot. One statement when nothing is in the
 * way. Undo: `markFailed`.
 */
export async function insertVolume(database: Database, request: Admittance): Promise<InsertVolumeOutcome> {
  for (let attempt = 1; attempt <= RACE_TRIES; attempt += 1) {
    const { admitted, room } = await insertOrTakeOver(database, request);
    if (admitted) return { kind: 'admitted', volume: admitted };
    const refusal = await findRefusal(database, request);
    if (refusal) return refusal;
    if (room) return room;
  }
  throw new Error(`volume ${request.volumeId} changed its state ${RACE_TRIES} times while it was admitted`);
}

/** @returns `room` where there is none, whatever else is in the way. */
async function insertOrTakeOver(
  database: Database,
  request: Admittance,
): Promise<{ admitted?: VolumeRow; room?: InsertVolumeOutcome & { kind: 'no-room' } }> {
  const { overSubscription = null, totalBytes = null } = request.promise ?? {};
  const fields = {
    ...getTableColumns(volumes),
    admitted: cast.boolean(sql`admitted.id is not null`),
    /** Null where the statement must be repeated. */
    fits: cast.boolean<boolean | null>(sql`room.fits`),
    promisedBytes: cast.integer(sql`room.promised`),
    mostBytes: cast.integer(sql`room.most`),
  };
  const [row] = await readRows(
    database,
    fields,
    (columns) => sql`with room as materialized (
        select r.fits, r.promised, b.most from (
          select floor(coalesce(${totalBytes}::float8, total_bytes) * ${overSubscription}::float8)::bigint as most
          from backends where name = ${request.backend}
        ) b cross join promise_room(${request.backend}, ${request.volumeId}::uuid, ${request.sizeBytes}::bigint, b.most) r
      ), admitted as (
      insert into volumes as v (id, project_id, name, backend, image_id, short_key, request, size_bytes, state, workflow_id, run_id, image_metadata, metadata)
      select ${request.volumeId}::uuid, ${request.projectId}::text, ${request.name}::text, ${request.backend}::text, ${request.imageId}::text, ${request.shortKey}::text,
        ${json(request.request)}, ${request.sizeBytes}::bigint, 'creating', ${request.workflowId}::text, ${request.runId}::text, ${json(request.imageMetadata)},
        ${json(request.metadata)}
      from room where fits
      on conflict (id) do update set state = 'creating', workflow_id = excluded.workflow_id, run_id = excluded.run_id, updated_at = now(),
        error_type = null, error_message = null, outcome = null, given_up = v.given_up and v.state = 'creating' and v.run_id = excluded.run_id,
        backend = case when v.holds_entry then v.backend else excluded.backend end,
        image_id = case when v.holds_entry then v.image_id else excluded.image_id end,
        short_key = case when v.holds_entry then v.short_key else excluded.short_key end,
        size_bytes = case when v.holds_entry then v.size_bytes else excluded.size_bytes end,
        image_metadata = excluded.image_metadata,
        entry_id = case when v.holds_entry then v.entry_id end,
        waits_for_flight = case when v.run_id = excluded.run_id then v.waits_for_flight end,
        activity_id = case when v.run_id = excluded.run_id then v.activity_id end
      where v.request = excluded.request and (v.state = 'error' or (v.state = 'creating' and v.run_id in (excluded.run_id, ${request.deadRunId ?? request.runId})))
      returning ${columnsOf(volumes)}
      ) select ${columns} from room left join admitted on true`,
  );
  if (!row) throw new Error(`backend ${request.backend} is not registered`);
  const { admitted, fits, promisedBytes, mostBytes, ...volume } = row;
  if (admitted) return { admitted: volume };
  return fits === false ? { room: { kind: 'no-room', promisedBytes, mostBytes } } : {};
}

/** @returns undefined when nothing is in the way by now. */
async function findRefusal(
  database: Database,
  { volumeId, request, projectId, runId, deadRunId }: Admittance,
): Promise<InsertVolumeOutcome | undefined> {
  const isSame = cast.boolean(sql`${volumes.request} = ${json(request)}`);
  const [row] = await query(database, (orm) =>
    orm
      .select({ ...getTableColumns(volumes), isSame })
      .from(volumes)
      .where(eq(volumes.id, volumeId)),
  );
  if (!row) return undefined;
  const { isSame: isSameRequest, ...found } = row;
  if (found.state === 'deleting' || found.state === 'deleted') return { kind: 'deleted' };
  if (!isSameRequest) return { kind: 'conflict', found: describeRequest(found, projectId) };
  if (found.state === 'available') return { kind: 'available', volume: found };
  if (found.state === 'creating' && found.runId !== runId && found.runId !== deadRunId)
    return { kind: 'busy', workflowId: found.workflowId, runId: found.runId };
  return undefined;
}

/** Another project's request is not told. */
function describeRequest(found: VolumeRow, projectId: ProjectId): string {
  return found.projectId === projectId ? JSON.stringify(found.request) : 'a request of another project';
}

/**
 * Gives a lease back whose parent turned out unusable, so that another can be acquired. Repeated it changes nothing.
 * @returns the parent that may be deleted now: it is retired and nothing holds it.
 */
export async function releaseLease(
  database: Database,
  { volumeId, runId }: { volumeId: VolumeId; runId: string },
): Promise<Release> {
  const [row] = await readRows(
    database,
    { freed },
    (columns) => sql`with volume as (
        select id, entry_id from volumes where id = ${volumeId} and run_id = ${runId} and state = 'creating' and holds_entry for no key update
      ), released as (${releaseOf(sql`volume`)})
      update volumes set entry_id = null, holds_entry = false, updated_at = now() from volume v where volumes.id = v.id
      returning ${columns}`,
  );
  return toRelease(row);
}

export type CompleteOutcome =
  /** `saved`: what the cache spared this create; absent when an earlier call has completed it. */
  | ({ kind: 'completed'; volume: VolumeRow; saved?: { bytes: number; seconds: number } } & Release)
  | { kind: 'not-creating'; state: VolumeState | 'absent' };
/**
 * `creating -> available` with everything that belongs to it, the decision record included, in one statement. Repeated
 * by the same run it is `completed` again. Where the backend's clones live without their parent the lease ends here,
 * else it becomes the clone's hold on its parent.
 * @param clonesPinParent default: what the backend's row declares.
 */
export async function completeVolume(
  database: Database,
  request: {
    volumeId: VolumeId;
    runId: string;
    sizeBytes: number;
    connection: Connection;
    outcome: Exclude<Outcome, 'refused'>;
    decision: DecisionNote;
    clonesPinParent?: boolean;
  },
): Promise<CompleteOutcome> {
  const { volumeId, runId, sizeBytes, connection, outcome, decision, clonesPinParent } = request;
  const fields = {
    ...getTableColumns(volumes),
    freed,
    saved: cast.json<{ bytes: number; seconds: number } | null>(sql`select to_jsonb(saved) from saved`),
  };
  const [row] = await readRows(
    database,
    fields,
    (columns) => sql`with completed as (
        update volumes v set state = 'available', size_bytes = ${sizeBytes}, connection = ${json(connection)}, outcome = ${outcome}, bootable = true,
          holds_entry = v.holds_entry and coalesce(${clonesPinParent ?? null}::boolean, (b.capabilities ->> 'clonesPinParent')::boolean, true),
          waits_for_flight = null, activity_id = null, available_at = now(), updated_at = now()
        from backends b
        where v.id = ${volumeId} and v.run_id = ${runId} and v.state = 'creating' and not v.given_up and b.name = v.backend
        returning ${columnsOf(volumes, 'v')}
      ), released as (${releaseOf(sql`completed where not holds_entry`)}
      ), saved as (
        select coalesce(e.image_bytes, 0) as bytes, coalesce(e.cost_seconds, 0) as seconds from completed c join cache_entries e on e.id = c.entry_id
        where c.outcome in ('hit', 'joined')
      ), decided as (${decisionOf('completed', { ...decision, outcome, saved: 'saved' })})
      select ${columns} from completed`,
  );
  if (row) {
    const { freed: freedEntry, saved, ...volume } = row;
    return { kind: 'completed', volume, ...(freedEntry && { freedEntry }), saved: saved ?? { bytes: 0, seconds: 0 } };
  }
  const volume = await findVolume(database, { volumeId });
  if (volume?.state === 'available' && volume.runId === runId) return { kind: 'completed', volume };
  return { kind: 'not-creating', state: volume?.state ?? 'absent' };
}

/**
 * Lets a run go on with a row that an earlier run of its workflow had, which a reset has ended: as if that one had
 * never ended. Compare-and-set on the row's run. Repeated it is false.
 */
export async function takeOverVolume(
  database: Database,
  { volumeId, earlierRunId, runId }: { volumeId: VolumeId; earlierRunId: string; runId: string },
): Promise<boolean> {
  const taken = await runStatement(
    database,
    sql`update volumes set state = 'creating', run_id = ${runId}, given_up = false, error_type = null, error_message = null, updated_at = now()
      where id = ${volumeId} and run_id = ${earlierRunId} and state in ('creating', 'error')`,
  );
  return taken > 0;
}

interface Removal {
  volumeId: VolumeId;
  runId: string;
  /** Removes the volume's bytes; idempotent. */
  remove: () => Promise<void>;
}

/**
 * Fences a volume before what was made of it is removed: no step of this run, however late, makes it `available` from
 * here on. The row is locked meanwhile, so that no other run of the same volume comes between. Idempotent.
 * @returns false when it is available, or is no longer this run's to undo: then its bytes stay.
 */
export function removeGivenUp(database: Database, { volumeId, runId, remove }: Removal): Promise<boolean> {
  return inTransaction(database, async (transaction) => {
    const given = await runStatement(
      transaction,
      sql`update volumes set given_up = true, updated_at = now() where id = ${volumeId} and run_id = ${runId}
          and (state = 'creating' or (state = 'deleting' and state_before_delete = 'creating'))`,
    );
    if (given > 0) await remove();
    return given > 0;
  });
}

/**
 * Removes what a late step has made of a volume that has ended, or that this run undoes. The bytes of a row that is
 * `available`, or that another run has, stay. The row is locked meanwhile. Idempotent.
 */
export function removeOrphan(database: Database, { volumeId, runId, remove }: Removal): Promise<void> {
  return inTransaction(database, async (transaction) => {
    const owned = cast.boolean(
      sql`state = 'available' or (state = 'creating' and not (given_up and run_id = ${runId}))`,
    );
    const [row] = await readRows(
      transaction,
      { owned },
      (columns) => sql`select ${columns} from volumes where id = ${volumeId} for no key update`,
    );
    if (row?.owned !== true) await remove();
  });
}

/**
 * Ends a create that failed (`error`) or was cancelled (`deleted`), after its clone was removed: the lease is released,
 * the decision recorded. A row in `deleting` stays so and loses its lease only; a row of a later run is left alone.
 * Idempotent.
 * @returns the parent that may be deleted now.
 */
export async function markFailed(
  database: Database,
  request: {
    volumeId: VolumeId;
    runId: string;
    to: 'error' | 'deleted';
    /** The user may read it. */
    error?: { type: string; message: string };
    decision: DecisionNote;
  },
): Promise<Release> {
  const { volumeId, runId, to, error, decision } = request;
  return endHold(database, {
    volumeId,
    states: ended,
    statement: (columns) => sql`with volume as (
        select id, entry_id, holds_entry from volumes where id = ${volumeId} and run_id = ${runId}
          and (state = 'creating' or (state = 'deleting' and state_before_delete = 'creating')) for no key update
      ), settled as (
        update volumes v set state = case when v.state = 'creating' then ${to} else v.state end, holds_entry = false,
          waits_for_flight = null, activity_id = null, updated_at = now(),
          deleted_at = case when v.state = 'creating' and ${to} = 'deleted' then now() end,
          error_type = ${error?.type ?? null}, error_message = ${error?.message ?? null}
        from volume where v.id = volume.id returning ${columnsOf(volumes, 'v')}
      ), released as (${releaseOf(sql`volume where holds_entry`)}
      ), decided as (${decisionOf('settled', { ...decision, outcome: 'failed', errorType: error?.type })})
      select ${columns} from settled`,
  });
}
