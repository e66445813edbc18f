import { sql } from 'drizzle-orm/sql';
import type { Caller } from '../workflows/contract/event-kinds';
import type { VolumeId } from '../workflows/contract/ids';
import type { HeldStatus, VolumeState } from '../workflows/contract/volume';
import type { Database } from './client';
import { refusalIn, roomFields, roomFor, type NoRoom, type OverQuota, type PromiseLimit } from './room';
import { reimages, volumes, type ReimageRow, type VolumeRow } from './schema';
import { isInScope, type ProjectScope } from './scope';
import { cast, inTransaction, json, readRows, readTable, runStatement, type Queryable } from './statement';
import { findVolume, lockVolume } from './volumes';

export type NotReimagable =
  | { kind: 'absent' }
  /** It is neither available nor in error. */
  | { kind: 'volume-state'; state: VolumeState | HeldStatus }
  | { kind: 'in-use'; by: string };

export type BeginReimageOutcome =
  | { kind: 'begun'; volume: VolumeRow & { sizeBytes: number } }
  | NotReimagable
  /** It has failed before its size was known, and the image's record does not tell it. */
  | { kind: 'no-size' }
  | NoRoom
  | OverQuota
  /** Another run replaces its bytes, or has died at it. */
  | { kind: 'busy'; reimage: ReimageRow };

/** Each try that ends without an answer has met a change of the row, or of what the backend has promised. */
const RACE_TRIES = 5;

export interface ReimageRequest
  extends
    Pick<ReimageRow, 'volumeId' | 'contentId' | 'imageId' | 'shortKey' | 'imageMetadata' | 'workflowId' | 'runId'>,
    Caller {
  scope: ProjectScope;
  /** Whose reimage is taken over where it has done nothing yet. */
  deadRunId?: string;
  /** Whether it may be reserved, as for an attachment that is being made. */
  reserved?: boolean;
  /** Of a volume without one. */
  sizeBytes?: number;
  /** The limit to which all volumes of the backend may grow together. */
  limitOf: (backend: VolumeRow['backend']) => Promise<PromiseLimit>;
}

/**
 * Begins a reimage of an available volume, or of one in `error`, by a row of its own: one at a time. The latter is promised its size again, and counted
 * against its project's quotas, and is `reimaging` from here on. Repeated with the same content it is `begun` again; one of a run that is
 * known to be dead and has done nothing yet is taken over. Undo: `dropReimage`.
 */
export async function beginReimage(database: Database, request: ReimageRequest): Promise<BeginReimageOutcome> {
  const { volumeId, scope } = request;
  for (let attempt = 1; attempt <= RACE_TRIES; attempt += 1) {
    const found = await findVolume(database, { volumeId, scope });
    if (found?.state !== 'error' || found.attachedTo !== null) return await beginWithBytes(database, request);
    const admitted = await beginAgain(database, request, found);
    if (admitted !== undefined) return admitted;
  }
  throw new Error(`volume ${volumeId} changed ${RACE_TRIES} times while its reimage was begun`);
}

async function beginWithBytes(database: Database, request: ReimageRequest): Promise<BeginReimageOutcome> {
  const { volumeId, scope, contentId, deadRunId } = request;
  return await inTransaction(database, async (transaction) => {
    const volume = await lockVolume(transaction, { volumeId, scope });
    if (volume === undefined) return { kind: 'absent' };
    const existing = await lockReimage(transaction, volumeId);
    const refusal = whyNotReimagable(volume, existing, request);
    if (refusal !== undefined) return refusal;
    if (volume.sizeBytes === null) throw new Error(`volume ${volumeId} has no size`);
    const begun = { kind: 'begun', volume: { ...volume, sizeBytes: volume.sizeBytes } } as const;
    if (existing?.contentId === contentId) return begun;
    const isFree = existing === undefined || (existing.runId === deadRunId && holdsNothing(existing));
    if (!isFree) return { kind: 'busy', reimage: existing };
    await runStatement(transaction, sql`delete from reimages where volume_id = ${volumeId}`);
    await runStatement(transaction, insertionOf(request, sql`volumes where id = ${volumeId}`));
    return begun;
  });
}

/** Compare-and-set from `error`, in the statement that finds room for it. @returns undefined where it is to be tried again. */
async function beginAgain(
  database: Database,
  request: ReimageRequest,
  { id, backend, projectId, volumeType, sizeBytes: former }: VolumeRow,
): Promise<BeginReimageOutcome | undefined> {
  const sizeBytes = former ?? request.sizeBytes;
  if (sizeBytes === undefined) return { kind: 'no-size' };
  const limit = await request.limitOf(backend);
  const fields = { ...roomFields, isBegun: cast.boolean(sql`begun.volume_id is not null`) };
  const [row] = await readRows(
    database,
    fields,
    (columns) => sql`with room as materialized (
        ${roomFor({ backend, projectId, volumeType, volumeIds: [id], sizeBytes, limit })}
      ), changed as (
        update volumes set state = 'reimaging', size_bytes = ${sizeBytes}, updated_at = now() from room
        where volumes.id = ${id} and ${isInScope(volumes.projectId, request.scope)} and state = 'error' and attached_to is null and size_bytes is not distinct from ${former}::bigint
          and room.fits and room.over_quota is null
        returning volumes.id, volumes.backend
      ), begun as (${insertionOf(request, sql`changed`)} returning volume_id)
      select ${columns} from room left join begun on true`,
  );
  if (!row) throw new Error(`backend ${backend} is not registered`);
  return row.isBegun ? await beginWithBytes(database, request) : refusalIn(row, sizeBytes);
}

/** @param from has the volume's `id` and `backend`. */
function insertionOf(
  { contentId, imageId, shortKey, imageMetadata, workflowId, runId, by, requestId }: ReimageRequest,
  from: ReturnType<typeof sql>,
) {
  return sql`insert into reimages (volume_id, backend, content_id, image_id, short_key, image_metadata, workflow_id, run_id, requested_by, request_id)
    select id, backend, ${contentId}::uuid, ${imageId}, ${shortKey}, ${json(imageMetadata)}, ${workflowId}, ${runId}, ${by ?? null}::text,
      ${requestId ?? null}::text
    from ${from}`;
}

/** @param reimage that is under way: whose it is may go on with what it has begun. */
export function whyNotReimagable(
  volume: VolumeRow | undefined,
  reimage: ReimageRow | undefined,
  { reserved = true }: { reserved?: boolean } = {},
): NotReimagable | undefined {
  if (volume === undefined || volume.state === 'deleted') return { kind: 'absent' };
  const { state, status, attachedTo } = volume;
  if (state !== 'available' && !(state === 'reimaging' && reimage !== undefined))
    return { kind: 'volume-state', state };
  // The user that it is reserved for does not have it yet.
  if (status === 'reserved' && reserved) return undefined;
  if (attachedTo !== null) return { kind: 'in-use', by: attachedTo };
  const isFree = status === null || status === 'error';
  return isFree ? undefined : { kind: 'volume-state', state: status };
}

/** Whether nothing is on the backend for it, and no parent leased. */
export function holdsNothing({ entryId, stage }: ReimageRow): boolean {
  return entryId === null && stage === 'begun';
}

export async function lockReimage(on: Queryable, volumeId: VolumeId): Promise<ReimageRow | undefined> {
  const [reimage] = await readTable(
    on,
    reimages,
    (columns) => sql`select ${columns} from reimages where volume_id = ${volumeId} for update`,
  );
  return reimage;
}
