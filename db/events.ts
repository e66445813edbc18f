import { getTableColumns } from 'drizzle-orm/utils';
import { and, eq, sql, type SQL } from 'drizzle-orm/sql';
import type { Caller, EventKind } from '../workflows/contract/event-kinds';
import { Failure } from '../workflows/contract/failures';
import type { BackendName, EntryId, ImageId, ProjectId, VolumeId } from '../workflows/contract/ids';
import type { Database } from './client';
import { events } from './schema';
import { isInScope, type ProjectScope } from './scope';
import { cast, json, query, readRows, recordset, runStatement, type Queryable, type RowRead } from './statement';

/** The requester, and the run that does it. */
export interface EventSource extends Caller {
  workflowId: string;
  runId: string;
}

interface EventNote extends EventSource {
  kind: EventKind;
  /** The change; no secrets. */
  detail?: Record<string, unknown>;
}

/**
 * For a statement's `with` list, or its end: an event of each row of the list's volumes-shaped item `changed`, so that
 * an event is there exactly when its change is. A run has one of a kind for each volume.
 */
export function volumeEventsOf(
  changed: string,
  { detail, ...note }: Omit<EventNote, 'detail'> & { detail?: Record<string, unknown> | SQL },
): SQL {
  const { kind, by, requestId, workflowId, runId } = note;
  const told = detail !== undefined && 'queryChunks' in detail ? (detail as SQL) : json(detail ?? {});
  return sql`insert into events (kind, object, requested_by, request_id, project_id, volume_id, image_id, entry_id, backend, detail,
      workflow_id, run_id)
    select ${kind}::text, id, ${by ?? null}::text, ${requestId ?? null}::text, project_id, id, image_id, entry_id, backend, ${told},
      ${workflowId}::text, ${runId}::text
    from ${sql.identifier(changed)} on conflict (workflow_id, run_id, kind, object) do nothing`;
}

/** The columns of a changed volume that `volumeEventsOf` reads. */
export const volumeEventColumns = sql.raw('id, project_id, image_id, entry_id, backend');

/** As `volumeEventsOf`, of each row of the list's snapshots-shaped item `changed`. */
export function snapshotEventsOf(changed: string, { detail, ...note }: EventNote): SQL {
  const { kind, by, requestId, workflowId, runId } = note;
  return sql`insert into events (kind, object, requested_by, request_id, project_id, volume_id, entry_id, backend, detail, workflow_id, run_id)
    select ${kind}::text, id, ${by ?? null}::text, ${requestId ?? null}::text, project_id, volume_id, entry_id, backend,
      jsonb_build_object('name', name, 'sizeBytes', size_bytes) || ${json(detail ?? {})}, ${workflowId}::text, ${runId}::text
    from ${sql.identifier(changed)} on conflict (workflow_id, run_id, kind, object) do nothing`;
}

/** Records an event of a volume that another statement has changed, or that stays as it is. Nothing for one without a row. */
export async function recordVolumeEvent(
  on: Queryable,
  { volumeId, ...note }: EventNote & { volumeId: VolumeId },
): Promise<void> {
  const volume = sql`select ${volumeEventColumns} from volumes where id = ${volumeId}`;
  await runStatement(on, sql`with changed as (${volume}) ${volumeEventsOf('changed', note)}`);
}

/** Records what an operator has done to the cache, or to a project, in the transaction that does it. Once for each `object` of a run. */
export async function recordEvent(
  on: Queryable,
  event: EventNote & { object: string; backend?: BackendName; projectId?: ProjectId; imageId?: ImageId },
): Promise<void> {
  const { kind, object, backend, projectId, imageId, detail, by, requestId, workflowId, runId } = event;
  await runStatement(
    on,
    sql`insert into events (kind, object, requested_by, request_id, project_id, image_id, backend, detail, workflow_id, run_id)
      values (${kind}, ${object}, ${by ?? null}, ${requestId ?? null}, ${projectId ?? null}, ${imageId ?? null}, ${backend ?? null}, ${json(detail ?? {})},
        ${workflowId}, ${runId})
      on conflict (workflow_id, run_id, kind, object) do nothing`,
  );
}

/** The event that a run has recorded already: a lost reply costs nothing. */
export async function findEventOfRun(
  on: Queryable,
  { kind, source: { workflowId, runId } }: { kind: EventKind; source: EventSource },
): Promise<typeof events.$inferSelect | undefined> {
  const where = and(eq(events.workflowId, workflowId), eq(events.runId, runId), eq(events.kind, kind));
  const [found] = await query(on, (orm) => orm.select().from(events).where(where).limit(1));
  return found;
}

/** As `recordEvent`, for requests about several images. Each `object` once in a run. */
export async function recordImageEvents(
  on: Queryable,
  {
    images,
    kind,
    detail,
    by,
    requestId,
    workflowId,
    runId,
  }: EventNote & { images: { imageId: ImageId; backend: BackendName }[] },
): Promise<void> {
  const rows = images.map(({ imageId, backend }) => ({ image_id: imageId, backend }));
  await runStatement(
    on,
    sql`insert into events (kind, object, requested_by, request_id, image_id, backend, detail, workflow_id, run_id)
      select ${kind}::text, given.backend || '/' || given.image_id, ${by ?? null}::text, ${requestId ?? null}::text, given.image_id, given.backend,
        ${json(detail ?? {})}, ${workflowId}::text, ${runId}::text
      from ${recordset(rows, sql`image_id text, backend text`)}
      on conflict (workflow_id, run_id, kind, object) do nothing`,
  );
}

export interface EventQuery {
  volumeId?: VolumeId;
  imageId?: ImageId;
  entryId?: EntryId;
  scope: ProjectScope;
  backend?: BackendName;
  /** `volume.deleted`, or its beginning up to the point: `volume`. */
  kind?: string;
  requestId?: string;
  since?: Date;
  limit: number;
  /** An event's id: those that follow it. */
  after?: string;
}

/** Tables that tell of events: the first letter of an event's id says which. */
const sources = { c: 'decisions', e: 'entry_events', v: 'events' } as const;
type Source = keyof typeof sources;

interface Place {
  source: Source;
  id: number;
}

/**
 * How creates ended, the history of entries, and the events of volumes and operators as one list.
 * @returns the newest first. @throws InvalidRequest for an `after` that is not kept (final).
 */
export async function listEvents(database: Database, request: EventQuery) {
  const after = request.after === undefined ? undefined : await findPlace(database, request.after);
  const branch = (source: Source, columns: SQL, where: (SQL | false | undefined)[]): SQL => {
    const conditions = [
      sql`true`,
      request.since && sql`at >= ${request.since.toISOString()}::timestamptz`,
      equals(sql`backend`, request.backend),
      after && isAfter(source, after),
      ...where,
    ].filter((condition) => condition !== undefined && condition !== false);
    return sql`(select ${sql.raw(`'${source}'`)} as source, id as number, at, ${columns} from ${sql.identifier(sources[source])}
      where ${sql.join(conditions, sql` and `)} order by at desc, id desc limit ${request.limit})`;
  };
  const { volumeId, imageId, entryId, scope, requestId } = request;
  const ofVolume = [
    equals(sql`volume_id`, volumeId),
    equals(sql`image_id`, imageId),
    equals(sql`entry_id`, entryId),
    isInScope(sql`project_id`, scope),
    equals(sql`request_id`, requestId),
  ];
  const ofEntry = [
    // The history of entries is nobody's but the operators'.
    (volumeId !== undefined || scope !== 'all projects') && sql`false`,
    equals(sql`entry_id`, entryId),
    imageId === undefined ? undefined : servedBy(imageId),
    equals(sql`request_id`, requestId),
  ];
  const kindOf = (kind: SQL) => request.kind !== undefined && isKind(kind, request.kind);
  const fields = { ...getTableColumns(events), id: cast.text(sql`source || number`) };
  return await readRows(
    database,
    fields,
    (columns) => sql`select ${columns} from (
      ${branch('c', createColumns, [...ofVolume, kindOf(createKind)])} union all
      ${branch('e', entryColumns, [...ofEntry, kindOf(entryKind)])} union all
      ${branch('v', ownColumns, [...ofVolume, kindOf(sql`kind`)])}
    ) told order by at desc, source desc, number desc limit ${request.limit}`,
  );
}

export type ListedEvent = RowRead<typeof listEvents>;

const createKind = sql`(case outcome when 'refused' then 'volume.create-refused' when 'failed' then 'volume.create-failed'
  else 'volume.created' end)`;
const createColumns = sql`${createKind} as kind, coalesce(volume_id::text, workflow_id) as object, requested_by, request_id, project_id,
  volume_id, image_id, entry_id, backend,
  jsonb_strip_nulls(jsonb_build_object('outcome', outcome, 'reason', reason, 'error', error_type)) as detail, workflow_id, run_id`;
const entryKind = sql`('entry.' || kind)`;
const entryColumns = sql`${entryKind} as kind, entry_id::text as object, requested_by, request_id, null::text as project_id,
  null::uuid as volume_id, null::text as image_id, entry_id, backend,
  jsonb_strip_nulls(jsonb_build_object('reason', reason, 'detail', detail, 'bytes', bytes)) as detail, coalesce(workflow_id, '') as workflow_id,
  '' as run_id`;
const ownColumns = sql`kind, object, requested_by, request_id, project_id, volume_id, image_id, entry_id, backend, detail, workflow_id, run_id`;

function equals(column: SQL, value: string | undefined): SQL | undefined {
  return value === undefined ? undefined : sql`${column} = ${value}`;
}

function isKind(kind: SQL, wanted: string): SQL {
  return wanted.includes('.') ? sql`${kind} = ${wanted}` : sql`starts_with(${kind}, ${`${wanted}.`})`;
}

/** The image of an entry that is forgotten is told by the creates that it has served. */
function servedBy(imageId: ImageId): SQL {
  return sql`entry_id in (select i.entry_id from entry_images i where i.image_id = ${imageId}
    union select d.entry_id from decisions d where d.image_id = ${imageId} and d.entry_id is not null)`;
}

/** Newest first; of one instant by source, then by number. */
function isAfter(source: Source, after: Place): SQL {
  const at = sql`(select at from ${sql.identifier(sources[after.source])} where id = ${after.id})`;
  if (source < after.source) return sql`at <= ${at}`;
  if (source > after.source) return sql`at < ${at}`;
  return sql`(at, id) < (${at}, ${after.id}::bigint)`;
}

async function findPlace(database: Database, after: string): Promise<Place> {
  const [, source = '', digits = ''] = /^([cev])(\d{1,15})$/.exec(after) ?? [];
  if (source in sources) {
    const place = { source: source as Source, id: Number(digits) };
    const kept = sql`select from ${sql.identifier(sources[place.source])} where id = ${place.id}`;
    if ((await runStatement(database, kept)) > 0) return place;
  }
  throw new Failure('InvalidRequest', { field: 'after', value: after, allowed: 'the id of an event that is kept' });
}
