import { and, eq, sql, type SQL } from 'drizzle-orm/sql';
import { getTableColumns } from 'drizzle-orm/utils';
import type { Caller } from '../workflows/contract/event-kinds';
import type { BackendName, ImageId, ProjectId, VolumeId } from '../workflows/contract/ids';
import type { FreedEntry } from '../workflows/contract/population';
import type { Connection, Outcome, VolumeState } from '../workflows/contract/volume';
import type { Database } from './client';
import { endHolds, freed, releaseOf, type Release } from './entries/clones';
import { type DecisionNote, decisionOf } from './report/decisions';
import { refusalIn, roomFields, roomFor, type NoRoom, type OverQuota, type PromiseLimit } from './room';
import { volumes, type VolumeRow } from './schema';
import {
  cast,
  columnsOf,
  inTransaction,
  json,
  readRows,
  runStatement,
  texts,
  isLiteral,
  isOneOf,
  query,
  recordset,
  type Queryable,
} from './statement';
import { ended, readVolumes } from './volumes';

/** How often a statement is tried again that lost a race against another one of the same volume. */
const RACE_TRIES = 5;
/** Fields that the volumes of one request have in common. */
interface SharedAdmittance extends Caller {
  projectId: ProjectId;
  backend: BackendName;
  volumeType?: string;
  /** Absent where the configuration has the type. */
  volumeTypeId?: string | null;
  multiattach?: boolean;
  /** Why this backend; absent where the request names it. */
  placement?: string;
  /** Null, as `shortKey`, where its bytes are of no image. */
  imageId: ImageId | null;
  shortKey: string | null;
  /** The caller's request in canonical form: two requests are the same when these are equal as JSON. */
  request: object;
  /** Null until the image's virtual size is known. */
  sizeBytes: number | null;
  imageMetadata: Record<string, string>;
  metadata: Record<string, string>;
  description?: string;
  workflowId: string;
  runId: string;
  /** The limit to which all volumes of the backend may grow together; absent: none. */
  promise?: PromiseLimit;
}

interface Admittance extends SharedAdmittance {
  volumeId: VolumeId;
  name: string | null;
  /** A run that is known to do nothing more: its row is taken over. */
  deadRunId?: string;
}

interface Admittances extends SharedAdmittance {
  /** `own`: what the request of this one says beside `request`. */
  volumes: { volumeId: VolumeId; name: string | null; own: object }[];
  /** Runs that are known to do nothing more: their rows are taken over. */
  deadRunIds: string[];
}

type RowRefusal =
  | { kind: 'conflict'; found: string }
  | { kind: 'deleted' }
  /** Another run makes this volume, for the same request. */
  | { kind: 'busy'; workflowId: string; runId: string };

/** The same request was done before, or the row is another's. */
type InTheWay = { kind: 'available'; volume: VolumeRow } | RowRefusal;

export type InsertVolumeOutcome = { kind: 'admitted'; volume: VolumeRow } | NoRoom | OverQuota | InTheWay;

/**
 * Makes the volume's row `creating` for this run: a new one, one that is in `error`, or one of the dead run that the
 * caller has found; that one keeps its lease. Repeated by the same run it is `admitted` again. Its size is promised, and
 * counted against its project's quotas, in the same transaction: however many are admitted at once, they never overshoot.
 * One statement when nothing is in the way. Undo: `markFailed`.
 */
export async function insertVolume(
  database: Database,
  { volumeId, name, deadRunId, ...shared }: Admittance,
): Promise<InsertVolumeOutcome> {
  const request: Admittances = {
    ...shared,
    volumes: [{ volumeId, name, own: {} }],
    deadRunIds: deadRunId === undefined ? [] : [deadRunId],
  };
  for (let attempt = 1; attempt <= RACE_TRIES; attempt += 1) {
    const { admitted, refusal } = await insertOrTakeOver(database, request);
    if (admitted[0]) return { kind: 'admitted', volume: admitted[0] };
    const [found] = await findInTheWay(database, request, [volumeId]);
    if (found) return found.inTheWay;
    if (refusal) return refusal;
  }
  throw new Error(`volume ${volumeId} changed its state ${RACE_TRIES} times while it was admitted`);
}

export type InsertVolumesOutcome =
  /** `available`: those that the same request has made before. */
  | { kind: 'admitted'; volumes: VolumeRow[]; available: VolumeRow[] }
  | NoRoom
  | OverQuota
  | (RowRefusal & { volumeId: VolumeId });

/** As `insertVolume` for each, all or none of them. A few statements, whatever their number. */
export async function insertVolumes(database: Database, request: Admittances): Promise<InsertVolumesOutcome> {
  for (let attempt = 1; attempt <= RACE_TRIES; attempt += 1) {
    try {
      return await inTransaction(database, (transaction) => insertAll(transaction, request));
    } catch (error) {
      if (!(error instanceof NotAllAdmitted)) throw error;
      if (error.refusal) return error.refusal;
    }
  }
  throw new Error(`volumes of ${request.workflowId} changed ${RACE_TRIES} times while they were admitted`);
}

/** Undoes the inserts. Without a refusal they may be tried again. */
class NotAllAdmitted extends Error {
  constructor(readonly refusal?: Exclude<InsertVolumesOutcome, { kind: 'admitted' }>) {
    super(refusal?.kind ?? 'raced');
  }
}

async function insertAll(
  transaction: Queryable,
  request: Admittances,
): Promise<InsertVolumesOutcome & { kind: 'admitted' }> {
  const { admitted, refusal } = await insertOrTakeOver(transaction, request);
  const taken = new Set(admitted.map(({ id }) => id));
  const others = request.volumes.map(({ volumeId }) => volumeId).filter((volumeId) => !taken.has(volumeId));
  const found = others.length === 0 ? [] : await findInTheWay(transaction, request, others);
  const available: VolumeRow[] = [];
  for (const { volumeId, inTheWay } of found) {
    if (inTheWay.kind !== 'available') throw new NotAllAdmitted({ ...inTheWay, volumeId });
    available.push(inTheWay.volume);
  }
  const missing = request.volumes.length - taken.size - available.length;
  if (missing > 0)
    throw new NotAllAdmitted(
      refusal?.kind === 'no-room' ? { ...refusal, neededBytes: (request.sizeBytes ?? 0) * missing } : refusal,
    );
  return { kind: 'admitted', volumes: admitted, available };
}

/** @returns `refusal` where there is no room, whatever else is in the way. */
async function insertOrTakeOver(
  on: Queryable,
  request: Admittances,
): Promise<{ admitted: VolumeRow[]; refusal?: NoRoom | OverQuota }> {
  const { projectId, backend, runId, deadRunIds, sizeBytes } = request;
  // The function itself reads, under its lock, what a single volume has been promised before.
  const wantedBytes = request.volumes.length === 1 ? undefined : unpromisedBytes(request);
  const volumeIds = request.volumes.map(({ volumeId }) => volumeId);
  const { volumeType = null, promise: limit } = request;
  const room = roomFor({ backend, projectId, volumeType, volumeIds, sizeBytes, wantedBytes, limit });
  const fields = {
    ...getTableColumns(volumes),
    ...roomFields,
    admitted: cast.boolean(sql`admitted.id is not null`),
  };
  const rows = await readRows(
    on,
    fields,
    (columns) => sql`with given as (
        ${givenVolumes(request)}
      ), room as materialized (
        ${room}
      ), admitted as (
      insert into volumes as v (id, project_id, name, backend, image_id, short_key, request, size_bytes, state, workflow_id, run_id, image_metadata, metadata,
        requested_by, request_id, volume_type, volume_type_id, multiattach, placement, description)
      select given.id, ${projectId}::text, given.name, ${backend}::text, ${request.imageId}::text, ${request.shortKey}::text,
        given.request, ${sizeBytes}::bigint, 'creating', ${request.workflowId}::text, ${runId}::text, ${json(request.imageMetadata)},
        ${json(request.metadata)}, ${request.by ?? null}::text, ${request.requestId ?? null}::text,
        ${request.volumeType ?? null}::text, ${request.volumeTypeId ?? null}::uuid, ${request.multiattach ?? false}::boolean,
        ${request.placement ?? null}::text, ${request.description ?? null}::text
      from room cross join given where fits and over_quota is null order by given.id
      on conflict (id) do update set state = 'creating', workflow_id = excluded.workflow_id, run_id = excluded.run_id, updated_at = now(),
        requested_by = excluded.requested_by, request_id = excluded.request_id,
        error_type = null, error_message = null, outcome = null, given_up = v.given_up and v.state = 'creating' and v.run_id = excluded.run_id,
        backend = case when v.holds_entry then v.backend else excluded.backend end,
        placement = case when v.holds_entry then v.placement else excluded.placement end, volume_type = excluded.volume_type,
        volume_type_id = excluded.volume_type_id, multiattach = excluded.multiattach,
        image_id = case when v.holds_entry then v.image_id else excluded.image_id end,
        short_key = case when v.holds_entry then v.short_key else excluded.short_key end,
        size_bytes = case when v.holds_entry then v.size_bytes else excluded.size_bytes end,
        image_metadata = excluded.image_metadata,
        entry_id = case when v.holds_entry then v.entry_id end,
        waits_for_flight = case when v.run_id = excluded.run_id then v.waits_for_flight end,
        activity_id = case when v.run_id = excluded.run_id then v.activity_id end
      where v.request = excluded.request
        and (v.state = 'error' or (v.state = 'creating' and (v.run_id = excluded.run_id or v.run_id = any (${texts(deadRunIds)}))))
      returning ${columnsOf(volumes)}
      ) select ${columns} from room left join admitted on true`,
  );
  const [first] = rows;
  if (!first) throw new Error(`backend ${backend} is not registered`);
  if (first.admitted) return { admitted: rows.map(toVolume) };
  return { admitted: [], refusal: refusalIn(first, (sizeBytes ?? 0) * request.volumes.length) };
}

type AdmittedRow = VolumeRow & {
  admitted: boolean;
  fits: boolean | null;
  promisedBytes: number;
  mostBytes: number;
  overQuota: object | null;
};

/** @returns the volume's row without what was read besides. */
function toVolume(row: AdmittedRow): VolumeRow {
  const {
    admitted: _admitted,
    fits: _fits,
    promisedBytes: _promised,
    mostBytes: _most,
    overQuota: _over,
    ...volume
  } = row;
  return volume;
}

/**
 * Counts the size of a volume that was admitted without one against its project's quotas, once it is known. Repeated it
 * changes nothing. @returns the quota that does not allow it; then the volume stays without a size.
 */
export async function holdSize(
  database: Database,
  { volumeId, runId, sizeBytes }: { volumeId: VolumeId; runId: string; sizeBytes: number },
): Promise<Omit<OverQuota, 'kind'> | undefined> {
  const [row] = await readRows(
    database,
    { overQuota: cast.json<Omit<OverQuota, 'kind'> | null>(sql`over_quota`) },
    (columns) => sql`with volume as (
        select id, project_id, volume_type from volumes where id = ${volumeId} and run_id = ${runId} and state = 'creating' and size_bytes is null
      ), room as materialized (
        select v.id, over_quota from volume v
          cross join lateral quota_room(true, v.project_id, array[v.id], ${sizeBytes}::bigint, v.volume_type) over_quota
      ), sized as (
        update volumes set size_bytes = ${sizeBytes}::bigint, updated_at = now() from room
        where volumes.id = room.id and over_quota is null
      ) select ${columns} from room`,
  );
  return row?.overQuota ?? undefined;
}

/** The rows of `id`, `name` and canonical `request`. */
function givenVolumes({ volumes: given, request }: Admittances): SQL {
  const rows = given.map(({ volumeId, name, own }) => ({ id: volumeId, name, own }));
  return sql`select id, name, ${json(request)} || own as request from ${recordset(rows, sql`id uuid, name text, own jsonb`)}`;
}

/** The bytes of those that are not promised yet, as SQL. */
function unpromisedBytes({ backend, sizeBytes }: Admittances): SQL {
  return sql`${sizeBytes}::bigint * (select count(*) from given where not exists (
      select 1 from volumes v where v.id = given.id and v.backend = ${backend} and promised_bytes(v.state, v.state_before_delete, v.size_bytes) > 0))`;
}

/** @returns what is said of each of these volumes whose row cannot be taken. */
async function findInTheWay(
  on: Queryable,
  request: Admittances,
  volumeIds: readonly VolumeId[],
): Promise<{ volumeId: VolumeId; inTheWay: InTheWay }[]> {
  const fields = { ...getTableColumns(volumes), isSame: cast.boolean(sql`same_request`) };
  const rows = await readRows(
    on,
    fields,
    (columns) => sql`with given as (${givenVolumes(request)})
      select ${columns} from (
        select ${columnsOf(volumes, 'v')}, v.request = given.request as same_request from given join volumes v on v.id = given.id
        where ${isOneOf(sql`v.id`, volumeIds)}
      ) found order by id`,
  );
  return rows.flatMap(({ isSame, ...found }) => {
    const inTheWay = whatIsInTheWay(found, isSame, request);
    return inTheWay === undefined ? [] : [{ volumeId: found.id, inTheWay }];
  });
}

/** @returns undefined when the row can be taken by now. */
function whatIsInTheWay(
  found: VolumeRow,
  isSameRequest: boolean,
  { projectId, runId, deadRunIds }: Admittances,
): InTheWay | undefined {
  if (found.state === 'deleting' || found.state === 'deleted') return { kind: 'deleted' };
  if (!isSameRequest) return { kind: 'conflict', found: describeRequest(found, projectId) };
  if (found.state === 'available') return { kind: 'available', volume: found };
  if (found.state === 'creating' && ![runId, ...deadRunIds].includes(found.runId))
    return { kind: 'busy', workflowId: found.workflowId, runId: found.runId };
  return undefined;
}

/** Another project's request is not told. */
function describeRequest(found: VolumeRow, projectId: ProjectId): string {
  return found.projectId === projectId ? JSON.stringify(found.request) : 'a request of another project';
}

/**
 * Lets a volume that is being made hold the entry that its source holds, from now on and whatever becomes of the source. Repeated it changes nothing.
 * @returns whether it holds one.
 */
export async function holdEntryOf(
  database: Database,
  {
    volumeId,
    runId,
    source,
  }: { volumeId: VolumeId; runId: string; source: { table: 'volumes' | 'snapshots'; id: string } },
): Promise<boolean> {
  await runStatement(
    database,
    sql`with volume as (
        select id from volumes where id = ${volumeId} and run_id = ${runId} and state = 'creating' and not holds_entry for no key update
      ), held as (
        update cache_entries set clones = clones + 1 where exists (select from volume) and state in ('ready', 'retired')
          and id = (select entry_id from ${sql.identifier(source.table)} where id = ${source.id} and state = 'available' and holds_entry)
        returning id
      ) update volumes set entry_id = held.id, holds_entry = true, updated_at = now() from volume, held where volumes.id = volume.id`,
  );
  return (await readVolumes(database, [volumeId])).get(volumeId)?.holdsEntry === true;
}

/**
 * Gives leases back whose parent turned out unusable, so that another can be acquired. Repeated it changes nothing.
 * @returns the parents that may be deleted now: they are retired and nothing holds them.
 */
export async function releaseLeases(
  database: Database,
  { volumeIds, runId }: { volumeIds: readonly VolumeId[]; runId: string },
): Promise<FreedEntry[]> {
  const [row] = await readRows(
    database,
    { freed },
    (columns) => sql`with volume as (
        select id, entry_id from volumes where ${isOneOf(sql`id`, volumeIds)} and run_id = ${runId} and state = 'creating' and holds_entry
        order by id for no key update
      ), released as (${releaseOf(sql`volume`)})
      update volumes set entry_id = null, holds_entry = false, updated_at = now() from volume v where volumes.id = v.id
      returning ${columns}`,
  );
  return row?.freed ?? [];
}

export type CompleteOutcome =
  /** `saved`: what the cache spared this create; absent when an earlier call has completed it. */
  | { kind: 'completed'; volume: VolumeRow; saved?: { bytes: number; seconds: number } }
  | { kind: 'not-creating'; state: VolumeState | 'absent' };

/** A volume whose bytes are there. */
export interface Completion {
  volumeId: VolumeId;
  sizeBytes: number;
  connection: Connection;
  outcome: Exclude<Outcome, 'refused'>;
  /** Default: true. */
  bootable?: boolean;
  decision: DecisionNote;
}

interface CompleteRequest {
  runId: string;
  completions: Completion[];
  /** Default: what the backend's row declares. */
  clonesPinParent?: boolean;
  /** Whether the run makes more volumes than one. */
  ofSeveral?: boolean;
}

/**
 * `creating -> available` with everything that belongs to it, the decision records included, in one statement. Repeated by the same run it is
 * `completed` again. Where the backend's clones live without their parent the lease ends here, else it becomes the clone's hold on its parent.
 * @returns `freed`: the parents that may be deleted now.
 */
export async function completeVolumes(
  database: Database,
  { runId, completions, clonesPinParent, ofSeveral }: CompleteRequest,
): Promise<{ outcomes: Map<VolumeId, CompleteOutcome>; freed: FreedEntry[] }> {
  const made = completions.map(({ volumeId, sizeBytes, connection, outcome, bootable = true, decision }) => ({
    id: volumeId,
    size_bytes: sizeBytes,
    connection,
    outcome,
    bootable,
    ...decidedColumns(decision),
  }));
  const volumeIds = completions.map(({ volumeId }) => volumeId);
  const saved = cast.json<{ bytes: number; seconds: number } | null>(
    sql`select jsonb_build_object('bytes', bytes, 'seconds', seconds) from saved where saved.id = completed.id`,
  );
  const rows = await readRows(
    database,
    { ...getTableColumns(volumes), freed, saved },
    (columns) => sql`with made as (
        select * from ${recordset(made, sql`id uuid, size_bytes bigint, connection jsonb, outcome text, bootable boolean, ${decidedTypes}`)}
      ), volume as (
        select id from volumes where ${isOneOf(sql`id`, volumeIds)} order by id for no key update
      ), completed as (
        update volumes v set state = 'available', size_bytes = m.size_bytes, connection = m.connection, outcome = m.outcome, bootable = m.bootable,
          holds_entry = v.holds_entry and coalesce(${clonesPinParent ?? null}::boolean, (b.capabilities ->> 'clonesPinParent')::boolean, true),
          waits_for_flight = null, activity_id = null, available_at = now(), updated_at = now()
        from volume join made m using (id), backends b
        where v.id = volume.id and v.run_id = ${runId} and v.state = 'creating' and not v.given_up and b.name = v.backend
        returning ${columnsOf(volumes, 'v')}, m.reason || coalesce('; ' || v.placement, '') as reason, m.bytes_downloaded, m.timings_ms
      ), released as (${releaseOf(sql`completed where not holds_entry`)}
      ), saved as (
        select c.id, coalesce(e.image_bytes, 0) as bytes, coalesce(e.cost_seconds, 0) as seconds
        from completed c join cache_entries e on e.id = c.entry_id where c.outcome in ('hit', 'joined')
      ), decided as (${decisionOf('completed', { ...decided, outcome: sql`outcome`, saved: 'saved', ofSeveral })})
      select ${columns} from completed`,
  );
  const outcomes = new Map<VolumeId, CompleteOutcome>();
  for (const { freed: _, saved: spared, ...volume } of rows)
    outcomes.set(volume.id, { kind: 'completed', volume, saved: spared ?? { bytes: 0, seconds: 0 } });
  const others = volumeIds.filter((volumeId) => !outcomes.has(volumeId));
  if (others.length > 0) {
    const found = await readVolumes(database, others);
    for (const volumeId of others) outcomes.set(volumeId, completedBefore(found.get(volumeId), runId));
  }
  return { outcomes, freed: rows[0]?.freed ?? [] };
}

function completedBefore(volume: VolumeRow | undefined, runId: string): CompleteOutcome {
  if (volume?.state === 'available' && volume.runId === runId) return { kind: 'completed', volume };
  return { kind: 'not-creating', state: volume?.state ?? 'absent' };
}

/** Columns of a recordset's row about its decision. */
function decidedColumns({ reason, bytesDownloaded, timingsMs }: DecisionNote) {
  return { reason, bytes_downloaded: bytesDownloaded ?? 0, timings_ms: timingsMs ?? {} };
}

const decidedTypes = sql`reason text, bytes_downloaded bigint, timings_ms jsonb`;

/** The same columns of the rows whose decision is recorded. */
const decided = { reason: sql`reason`, bytesDownloaded: sql`bytes_downloaded`, timingsMs: sql`timings_ms` };

/**
 * Lets a run go on with rows that earlier runs of its workflow had, which a reset has ended: as if those had never ended. Compare-and-set on the
 * rows' run. @returns how many; none when it is repeated.
 */
export async function takeOverVolumes(
  database: Database,
  {
    volumeIds,
    earlierRunIds,
    runId,
  }: { volumeIds: readonly VolumeId[]; earlierRunIds: readonly string[]; runId: string },
): Promise<number> {
  const taken = await runStatement(
    database,
    sql`with volume as (
        select id from volumes where ${isOneOf(sql`id`, volumeIds)} and run_id = any (${texts(earlierRunIds)}) and state in ('creating', 'error')
        order by id for no key update
      )
      update volumes set state = 'creating', run_id = ${runId}, given_up = false, error_type = null, error_message = null, updated_at = now()
      from volume where volumes.id = volume.id`,
  );
  return taken;
}

interface Removal {
  volumeId: VolumeId;
  runId: string;
  /** Removes the volume's bytes; idempotent. */
  remove: () => Promise<void>;
}

/**
 * Fences volumes before what was made of them is removed: no step of this run, however late, makes them `available` from here on. The rows are locked
 * meanwhile, so that no other run of the same volumes comes between. Idempotent.
 * @param remove removes the bytes of one; several are removed at once.
 * @returns those that were given up. The others are available, or no longer this run's to undo: their bytes stay.
 */
export function removeGivenUp(
  database: Database,
  {
    volumeIds,
    runId,
    remove,
  }: { volumeIds: readonly VolumeId[]; runId: string; remove: (volumeIds: VolumeId[]) => Promise<void> },
): Promise<VolumeId[]> {
  return inTransaction(database, async (transaction) => {
    const rows = await readRows(
      transaction,
      { id: volumes.id },
      () => sql`with volume as (
          select id from volumes where ${isOneOf(sql`id`, volumeIds)} and run_id = ${runId}
            and (state = 'creating' or (state = 'deleting' and state_before_delete = 'creating')) order by id for no key update
        )
        update volumes set given_up = true, updated_at = now() from volume where volumes.id = volume.id returning volumes.id`,
    );
    const given = rows.map(({ id }) => id);
    if (given.length > 0) await remove(given);
    return given;
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

/** @returns whether a run has a volume that is not made yet, and that nobody deletes. */
export async function hasCreating(database: Database, { runId }: { runId: string }): Promise<boolean> {
  const rows = await query(database, (orm) =>
    orm
      .select({ id: volumes.id })
      .from(volumes)
      .where(and(isLiteral(volumes.state, 'creating'), eq(volumes.runId, runId)))
      .limit(1),
  );
  return rows.length > 0;
}

/** How a create ends that makes no volume. */
export interface FailedCreate {
  volumeId: VolumeId;
  to: 'error' | 'deleted';
  /** The error that the user may read. */
  error?: { type: string; message: string };
  decision: DecisionNote;
}

/** As `markAllFailed`, for the one volume of its run. */
export async function markFailed(
  database: Database,
  { runId, ...ending }: FailedCreate & { runId: string },
): Promise<Release> {
  const [freedEntry] = await markAllFailed(database, { runId, endings: [ending] });
  return freedEntry ? { freedEntry } : {};
}

/**
 * Ends creates that failed (`error`) or were cancelled (`deleted`), after their clones were removed: the leases are released, the decisions recorded.
 * A row that a delete has taken over stays `deleting` and loses its lease only; a row of a later run is left alone. Idempotent. One statement.
 * @param ofSeveral whether the run makes more volumes than one.  @returns the parents that may be deleted now.
 */
export function markAllFailed(
  database: Database,
  { runId, endings, ofSeveral }: { runId: string; endings: FailedCreate[]; ofSeveral?: boolean },
): Promise<FreedEntry[]> {
  const volumeIds = endings.map(({ volumeId }) => volumeId);
  const rows = endings.map(({ volumeId, to, error, decision }) => ({
    id: volumeId,
    ends: to,
    type: error?.type ?? null,
    message: error?.message ?? null,
    ...decidedColumns(decision),
  }));
  return endHolds(database, {
    volumeIds,
    states: ended,
    statement: (columns) => sql`with given as (
        select * from ${recordset(rows, sql`id uuid, ends text, type text, message text, ${decidedTypes}`)}
      ), volume as (
        select id, entry_id, holds_entry from volumes where ${isOneOf(sql`id`, volumeIds)} and run_id = ${runId}
          and (state = 'creating' or (state = 'deleting' and state_before_delete = 'creating')) order by id for no key update
      ), settled as (
        update volumes v set state = case when v.state = 'creating' then g.ends else v.state end, holds_entry = false,
          waits_for_flight = null, activity_id = null, updated_at = now(),
          deleted_at = case when v.state = 'creating' and g.ends = 'deleted' then now() end,
          error_type = g.type, error_message = g.message
        from volume join given g using (id) where v.id = volume.id
        returning ${columnsOf(volumes, 'v')}, g.reason, g.bytes_downloaded, g.timings_ms
      ), released as (${releaseOf(sql`volume where holds_entry`)}
      ), decided as (${decisionOf('settled', { ...decided, outcome: 'failed', errorType: sql`error_type`, ofSeveral })})
      select ${columns} from settled`,
  });
}
