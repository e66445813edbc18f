import { and, asc, desc, eq, sql } from 'drizzle-orm/sql';
import type { AttachmentStatus } from '../workflows/contract/attachment';
import type { EventKind } from '../workflows/contract/event-kinds';
import { Failure } from '../workflows/contract/failures';
import type { VolumeId } from '../workflows/contract/ids';
import type { HeldStatus } from '../workflows/contract/volume';
import type { Database } from './client';
import { volumeEventColumns, volumeEventsOf, type EventSource } from './events';
import { attachments, events, type AttachmentRow, type VolumeRow } from './schema';
import { isInScope, type ProjectScope } from './scope';
import { inTransaction, isOneOf, query, readTable, runStatement, type Queryable } from './statement';
import { lockVolume } from './volumes';

/** A volume whose row is locked, and its attachments, the oldest first. */
export interface HeldVolume {
  volume: VolumeRow;
  attachments: AttachmentRow[];
}

/** The change of a volume's hold and attachments. */
export interface AttachmentDecision {
  status: HeldStatus | null;
  /** Its holder, for people; null: nobody. */
  attachedTo: string | null;
  /** Made, or written over. */
  put?: AttachmentRow;
  /** The id of one that ends. */
  removed?: string;
  event: EventKind;
  detail: Record<string, unknown>;
}

export type AttachmentOutcome =
  | { kind: 'absent' }
  /** `attachmentId`: of the one that was made, changed or ended; null: of none. */
  | { kind: 'changed'; status: HeldStatus | null; attachmentId: string | null };

/**
 * Changes a volume's attachments, its status and by whom it is held, with an event, as `decide` says of them under the lock of its row. A run changes
 * a volume once: repeated it answers what is then.
 * @param decide undefined: nothing is changed. Where it throws, nothing is changed.
 */
export function changeAttachments(
  database: Database,
  {
    volumeId,
    scope,
    source,
    decide,
  }: {
    volumeId: VolumeId;
    scope: ProjectScope;
    source: EventSource;
    decide: (held: HeldVolume) => AttachmentDecision | undefined;
  },
): Promise<AttachmentOutcome> {
  return inTransaction(database, async (transaction) => {
    const volume = await lockVolume(transaction, { volumeId, scope });
    if (volume === undefined || volume.state === 'deleted') return { kind: 'absent' };
    const { status } = volume;
    const before = await findOwnChange(transaction, volumeId, source);
    if (before !== undefined) return { kind: 'changed', status, ...before };
    const held = await readAttachments(transaction, volumeId);
    const decision = decide({ volume, attachments: held });
    if (decision === undefined) return { kind: 'changed', status, attachmentId: null };
    const { put, removed } = decision;
    if (put !== undefined) await putAttachment(transaction, put, held);
    if (removed !== undefined) await removeAttachment(transaction, removed);
    await writeHold(transaction, { volumeId, source, decision });
    return { kind: 'changed', status: decision.status, attachmentId: attachmentOf(decision) };
  });
}

function attachmentOf({ put, removed }: AttachmentDecision): string | null {
  return put?.id ?? removed ?? null;
}

/** @returns what this run has changed already. */
async function findOwnChange(
  transaction: Queryable,
  volumeId: VolumeId,
  { workflowId, runId }: EventSource,
): Promise<{ attachmentId: string | null } | undefined> {
  const where = and(eq(events.workflowId, workflowId), eq(events.runId, runId), eq(events.object, volumeId));
  const [event] = await query(transaction, (orm) => orm.select({ detail: events.detail }).from(events).where(where));
  if (event === undefined) return undefined;
  const attachmentId: unknown = Reflect.get(event.detail, 'attachmentId');
  return { attachmentId: typeof attachmentId === 'string' ? attachmentId : null };
}

async function readAttachments(transaction: Queryable, volumeId: VolumeId): Promise<AttachmentRow[]> {
  const { createdAt, id } = attachments;
  return await query(transaction, (orm) =>
    orm.select().from(attachments).where(eq(attachments.volumeId, volumeId)).orderBy(asc(createdAt), asc(id)),
  );
}

async function putAttachment(transaction: Queryable, row: AttachmentRow, held: readonly AttachmentRow[]) {
  const { id, ...values } = row;
  if (held.some((attachment) => attachment.id === id)) {
    await query(transaction, (orm) => orm.update(attachments).set(values).where(eq(attachments.id, id)));
    return;
  }
  const made = await query(transaction, (orm) =>
    orm.insert(attachments).values(row).onConflictDoNothing().returning({ id: attachments.id }),
  );
  if (made.length > 0) return;
  throw new Failure('InvalidRequest', { field: 'attachmentId', value: id, allowed: 'an id that no attachment has' });
}

async function removeAttachment(transaction: Queryable, id: string): Promise<void> {
  await query(transaction, (orm) => orm.delete(attachments).where(eq(attachments.id, id)));
}

async function writeHold(
  transaction: Queryable,
  { volumeId, source, decision }: { volumeId: VolumeId; source: EventSource; decision: AttachmentDecision },
): Promise<void> {
  const { status, attachedTo, event: kind } = decision;
  const detail = { ...decision.detail, attachmentId: attachmentOf(decision) };
  await runStatement(
    transaction,
    sql`with changed as (
        update volumes set status = ${status}, attached_to = ${attachedTo}, updated_at = now() where id = ${volumeId}
        returning ${volumeEventColumns}
      ) ${volumeEventsOf('changed', { kind, detail, ...source })}`,
  );
}

/** @returns the newest first. */
export function selectAttachments(
  database: Database,
  {
    scope,
    volumeId,
    instanceId,
    status,
    limit,
    offset = 0,
    afterId,
  }: {
    scope: ProjectScope;
    volumeId?: VolumeId;
    instanceId?: string;
    status?: AttachmentStatus;
    limit: number;
    offset?: number;
    /** Those that follow it. */
    afterId?: string;
  },
): Promise<AttachmentRow[]> {
  const { createdAt, id, projectId } = attachments;
  const where = and(
    isInScope(projectId, scope),
    volumeId && eq(attachments.volumeId, volumeId),
    instanceId === undefined ? undefined : eq(attachments.instanceId, instanceId),
    status && eq(attachments.status, status),
    afterId === undefined
      ? undefined
      : sql`(created_at, id) < ((
        select created_at from attachments a where a.id = ${afterId} and ${isInScope(sql`a.project_id`, scope)}
      ), ${afterId}::uuid)`,
  );
  return query(database, (orm) =>
    orm.select().from(attachments).where(where).orderBy(desc(createdAt), desc(id)).limit(limit).offset(offset),
  );
}

export async function findAttachment(
  database: Database,
  { attachmentId, scope }: { attachmentId: string; scope: ProjectScope },
): Promise<AttachmentRow | undefined> {
  const where = and(eq(attachments.id, attachmentId), isInScope(attachments.projectId, scope));
  const [row] = await query(database, (orm) => orm.select().from(attachments).where(where));
  return row;
}

/** @returns those of these ids that attachments have, of whatever project. */
export async function findAttachmentIds(database: Database, ids: readonly string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set();
  const where = isOneOf(sql`${attachments.id}`, ids);
  const rows = await query(database, (orm) => orm.select({ id: attachments.id }).from(attachments).where(where));
  return new Set(rows.map(({ id }) => id));
}

/** @returns attachments of these volumes, the oldest first. */
export async function listAttachmentsOf(database: Database, volumeIds: readonly VolumeId[]): Promise<AttachmentRow[]> {
  if (volumeIds.length === 0) return [];
  const where = isOneOf(sql`volume_id`, volumeIds);
  return await readTable(
    database,
    attachments,
    (columns) => sql`select ${columns} from attachments where ${where} order by created_at, id`,
  );
}
