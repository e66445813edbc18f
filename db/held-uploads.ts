import { and, asc, eq, sql } from 'drizzle-orm/sql';
import type { Caller } from '../workflows/contract/event-kinds';
import type { BackendName, ImageId, VolumeId } from '../workflows/contract/ids';
import type { HeldStatus, VolumeState } from '../workflows/contract/volume';
import type { Database } from './client';
import { volumeEventColumns, volumeEventsOf, type EventSource } from './events';
import { uploads, type UploadRow, type VolumeRow } from './schema';
import type { ProjectScope } from './scope';
import { inTransaction, query, readTable, runStatement, type Queryable } from './statement';
import { lockVolume } from './volumes';

export type BeginUploadOutcome =
  | { kind: 'absent' }
  | { kind: 'not-available'; state: VolumeState | HeldStatus }
  | { kind: 'begun'; volume: VolumeRow };

/**
 * Makes a volume `uploading` for a run, by a row beside it. Repeated it is `begun` again, by a later run of the same workflow id too. Undo: `endUpload`.
 * @param allowed statuses in which it may be taken; null: `available`.
 */
export function beginUpload(
  database: Database,
  {
    volumeId,
    scope,
    imageId,
    allowed,
    source,
  }: {
    volumeId: VolumeId;
    scope: ProjectScope;
    imageId: ImageId;
    allowed: readonly (HeldStatus | null)[];
    source: EventSource;
  },
): Promise<BeginUploadOutcome> {
  const { by, requestId, workflowId, runId } = source;
  return inTransaction(database, async (transaction) => {
    const volume = await lockVolume(transaction, { volumeId, scope });
    if (volume === undefined || volume.state === 'deleted') return { kind: 'absent' };
    const { state, status, backend } = volume;
    const [former] = await readTable(
      transaction,
      uploads,
      (columns) => sql`select ${columns} from uploads where volume_id = ${volumeId} for update`,
    );
    const isOwn = former?.workflowId === workflowId && status === 'uploading';
    if (state !== 'available') return { kind: 'not-available', state };
    if (!isOwn && !allowed.includes(status)) return { kind: 'not-available', state: status ?? 'available' };
    // Of another run that is left from a volume which somebody has set free.
    await runStatement(
      transaction,
      sql`insert into uploads (volume_id, backend, image_id, workflow_id, run_id, requested_by, request_id)
        values (${volumeId}, ${backend}, ${imageId}, ${workflowId}, ${runId}, ${by ?? null}, ${requestId ?? null})
        on conflict (volume_id) do update set image_id = excluded.image_id, workflow_id = excluded.workflow_id, run_id = excluded.run_id,
          is_recorded = uploads.is_recorded and uploads.image_id = excluded.image_id, requested_by = excluded.requested_by,
          request_id = excluded.request_id, started_at = case when uploads.workflow_id = excluded.workflow_id then uploads.started_at else now() end`,
    );
    await markUploading(transaction, volumeId);
    return { kind: 'begun', volume };
  });
}

async function markUploading(transaction: Queryable, volumeId: VolumeId): Promise<void> {
  await runStatement(
    transaction,
    sql`update volumes set status = 'uploading', updated_at = now() where id = ${volumeId} and status is distinct from 'uploading'`,
  );
}

/** Notes that the image service has the image's record. Idempotent; nothing where no upload of it holds a volume. */
export async function noteImageRecorded(database: Database, { imageId }: { imageId: ImageId }): Promise<void> {
  await runStatement(
    database,
    sql`update uploads set is_recorded = true where image_id = ${imageId} and not is_recorded`,
  );
}

/** @returns whether an upload goes on whose image the image service has a record of. */
export async function isImageRecorded(database: Database, { imageId }: { imageId: ImageId }): Promise<boolean> {
  const where = and(eq(uploads.imageId, imageId), uploads.isRecorded);
  const rows = await query(database, (orm) => orm.select({ volumeId: uploads.volumeId }).from(uploads).where(where));
  return rows.length > 0;
}

/** Why an upload has ended without its image. */
export interface UploadFailure {
  error: string;
  /** For people. */
  reason: string;
}

/**
 * Ends the hold of a workflow's upload: its volume is `available` again, or in use by whoever has it. Idempotent; a volume that has another status by then
 * keeps it. @param failure with its event, where the hold was there.
 */
export async function endUpload(
  database: Database,
  {
    held,
    failure,
    source,
  }: {
    held: { workflowId: string };
    failure?: UploadFailure;
    source: Pick<EventSource, 'workflowId' | 'runId'> & Caller;
  },
): Promise<void> {
  await runStatement(
    database,
    sql`with ended as (
        delete from uploads where workflow_id = ${held.workflowId} returning volume_id, image_id as uploaded_to
      ), freed as (
        update volumes set status = case when attached_to is null then null else 'in-use' end, updated_at = now() from ended
        where id = volume_id and state = 'available' and status = 'uploading'
      ), failed as (
        select ${volumeEventColumns}, uploaded_to from volumes join ended on id = ended.volume_id where ${failure !== undefined}::boolean
      ) ${volumeEventsOf('failed', {
        kind: 'volume.upload-failed',
        detail: sql`jsonb_build_object('imageId', uploaded_to, 'error', ${failure?.error ?? null}::text, 'reason', ${failure?.reason ?? null}::text)`,
        ...source,
      })}`,
  );
}

/** @returns the uploads that hold volumes of a backend, by volume. */
export async function listUploads(
  database: Database,
  { backend, limit }: { backend: BackendName; limit: number },
): Promise<UploadRow[]> {
  return await query(database, (orm) =>
    orm.select().from(uploads).where(eq(uploads.backend, backend)).orderBy(asc(uploads.volumeId)).limit(limit),
  );
}
