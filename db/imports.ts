import { and, asc, eq, inArray, ne, or, sql } from 'drizzle-orm/sql';
import type { ImportedDetail, ImportedKind } from '../workflows/contract/cinder-import';
import type { BackendName, EntryId, ImageId, SnapshotId, VolumeId } from '../workflows/contract/ids';
import type { Database } from './client';
import { recordVolumeEvent, type EventSource } from './events';
import {
  attachments,
  imports,
  snapshots,
  volumes,
  type AttachmentRow,
  type ImportRow,
  type SnapshotRow,
  type VolumeRow,
} from './schema';
import { inTransaction, query, transactionTime, type Queryable } from './statement';

export interface ImportedObject {
  kind: ImportedKind;
  object: string;
  backend: BackendName | null;
  source: string;
  detail?: ImportedDetail;
}

/**
 * Notes objects that are about to be taken over, so that they can be given back whatever ends the call. A note that is there stays, unless its object
 * was given back since.
 */
export async function noteImports(
  database: Queryable,
  { objects, runId }: { objects: readonly ImportedObject[]; runId: string },
): Promise<void> {
  if (objects.length === 0) return;
  const values = objects.map((object) => ({ ...object, runId }));
  const noted = { state: 'taking', runId, importedAt: transactionTime } as const;
  const given = { source: sql`excluded.source`, backend: sql`excluded.backend`, detail: sql`excluded.detail` };
  await query(database, (orm) =>
    orm
      .insert(imports)
      .values(values)
      .onConflictDoUpdate({
        target: [imports.kind, imports.object],
        set: { ...noted, ...given },
        setWhere: eq(imports.state, 'given-back'),
      }),
  );
}

/** @returns what was taken over, or was begun to be, of these objects. */
export async function readImports(
  database: Queryable,
  { kind, objects }: { kind: ImportedKind; objects: readonly string[] },
): Promise<Map<string, ImportRow>> {
  if (objects.length === 0) return new Map();
  const where = and(eq(imports.kind, kind), inArray(imports.object, [...objects]));
  const rows = await query(database, (orm) => orm.select().from(imports).where(where));
  return new Map(rows.map((row) => [row.object, row]));
}

/** @returns a page of what was taken over and not given back, but by this run, by kind and id. @param backend null: of none. @param source undefined: of all. */
export function listImports(
  database: Queryable,
  {
    kind,
    backend,
    source,
    runId,
    after,
    limit,
  }: {
    kind: ImportedKind;
    backend: BackendName | null;
    source?: string;
    runId: string;
    after?: string;
    limit: number;
  },
): Promise<ImportRow[]> {
  const where = and(
    eq(imports.kind, kind),
    backend === null ? sql`${imports.backend} is null` : eq(imports.backend, backend),
    source === undefined ? undefined : eq(imports.source, source),
    or(ne(imports.state, 'given-back'), eq(imports.runId, runId)),
    after === undefined ? undefined : sql`${imports.object} > ${after}`,
  );
  return query(database, (orm) => orm.select().from(imports).where(where).orderBy(asc(imports.object)).limit(limit));
}

/** The image whose bytes a volume holds by what Cinder has said of it, as it was taken over. */
export async function findCachedImageOf(database: Queryable, volumeId: VolumeId): Promise<ImageId | undefined> {
  const note = (await readImports(database, { kind: 'volume', objects: [volumeId] })).get(volumeId);
  return note?.state === 'taken' ? note.detail.cachedImageId : undefined;
}

/** Notes the entry whose image-volume is a clone of a volume that was taken over with Cinder's cache. Repeated it is the same. */
export async function noteCachedImage(
  database: Database,
  { entryId, volumeId, imageId, runId }: { entryId: EntryId; volumeId: VolumeId; imageId: ImageId; runId: string },
): Promise<void> {
  const note = (await readImports(database, { kind: 'volume', objects: [volumeId] })).get(volumeId);
  if (note === undefined) return;
  const { backend, source } = note;
  const detail = { volumeId, cachedImageId: imageId };
  await noteImports(database, { objects: [{ kind: 'cached-image', object: entryId, backend, source, detail }], runId });
  await markTaken(database, { kind: 'cached-image', objects: [entryId] });
}

/** Notes that an object is taken over now. */
export async function markTaken(
  database: Queryable,
  { kind, objects, detail }: { kind: ImportedKind; objects: readonly string[]; detail?: ImportedDetail },
): Promise<void> {
  if (objects.length === 0) return;
  const where = and(eq(imports.kind, kind), inArray(imports.object, [...objects]));
  const values = { state: 'taken', importedAt: transactionTime, ...(detail !== undefined && { detail }) } as const;
  await query(database, (orm) => orm.update(imports).set(values).where(where));
}

/** Rows as a volume that was taken over has them; the rest is as in any volume that is available. */
export type TakenVolume = Pick<
  VolumeRow,
  | 'id'
  | 'projectId'
  | 'name'
  | 'description'
  | 'backend'
  | 'volumeType'
  | 'volumeTypeId'
  | 'request'
  | 'sizeBytes'
  | 'workflowId'
  | 'runId'
  | 'requestedBy'
  | 'attachedTo'
  | 'status'
  | 'readOnly'
  | 'multiattach'
  | 'connection'
  | 'bootable'
  | 'imageMetadata'
  | 'metadata'
  | 'createdAt'
>;
export type TakenSnapshot = Pick<
  SnapshotRow,
  | 'id'
  | 'projectId'
  | 'volumeId'
  | 'backend'
  | 'name'
  | 'description'
  | 'metadata'
  | 'sizeBytes'
  | 'workflowId'
  | 'runId'
  | 'createdAt'
>;

/**
 * Makes the rows of a volume that was taken over, of its snapshots and its attachments, with its event. Rows that are there stay.
 * @returns whether this call made them.
 */
export function insertTaken(
  database: Database,
  {
    volume,
    taken,
    held,
    detail,
    source,
  }: {
    volume: TakenVolume;
    taken: readonly TakenSnapshot[];
    held: readonly AttachmentRow[];
    detail: ImportedDetail;
    source: EventSource;
  },
): Promise<boolean> {
  return inTransaction(database, async (transaction) => {
    const available = { state: 'available', availableAt: transactionTime } as const;
    const made = await query(transaction, (orm) =>
      orm
        .insert(volumes)
        .values({ ...volume, ...available })
        .onConflictDoNothing()
        .returning({ id: volumes.id }),
    );
    if (made.length === 0) return false;
    if (taken.length > 0)
      await query(transaction, (orm) =>
        orm.insert(snapshots).values(taken.map((snapshot) => ({ ...snapshot, ...available }))),
      );
    if (held.length > 0) await query(transaction, (orm) => orm.insert(attachments).values([...held]));
    await markTaken(transaction, { kind: 'volume', objects: [volume.id], detail });
    await markTaken(transaction, { kind: 'snapshot', objects: taken.map(({ id }) => id) });
    await recordVolumeEvent(transaction, {
      kind: 'volume.imported',
      volumeId: volume.id,
      detail: { snapshots: taken.length, attachments: held.length },
      ...source,
    });
    return true;
  });
}

export type GiveBackOutcome =
  /** Its rows are gone: its markers are to go, and then its notes. */
  { kind: 'giving-back'; snapshotIds: SnapshotId[] } | { kind: 'changed'; reason: string };

/**
 * Removes the rows of a volume that was taken over, of its snapshots and its attachments, if nothing of them has changed since, with an event.
 * Repeated it answers the same. @param dryRun nothing is removed.
 */
export function beginGivingBack(
  database: Database,
  { volumeId, dryRun, source }: { volumeId: VolumeId; dryRun: boolean; source: EventSource },
): Promise<GiveBackOutcome> {
  return inTransaction(database, async (transaction) => {
    const [volume] = await query(transaction, (orm) =>
      orm.select().from(volumes).where(eq(volumes.id, volumeId)).for('update'),
    );
    const note = (await readImports(transaction, { kind: 'volume', objects: [volumeId] })).get(volumeId);
    if (note === undefined || note.state === 'given-back') return { kind: 'changed', reason: 'it is not taken over' };
    const there = and(eq(snapshots.volumeId, volumeId), ne(snapshots.state, 'deleted'));
    const own = await query(transaction, (orm) => orm.select().from(snapshots).where(there));
    const notes = await readImports(transaction, { kind: 'snapshot', objects: own.map(({ id }) => id) });
    const noted = (await readNotesOf(transaction, 'snapshot', volumeId)) as SnapshotId[];
    const [entryId] = await readNotesOf(transaction, 'cached-image', volumeId);
    if (entryId !== undefined && !dryRun) return { kind: 'changed', reason: `cache entry ${entryId} is a clone of it` };
    if (volume === undefined && note.state !== 'taken') return { kind: 'giving-back', snapshotIds: noted };
    const reason = findChange({ volume, note, own, notes, noted });
    if (reason !== undefined) return { kind: 'changed', reason };
    const ended = { kind: 'giving-back', snapshotIds: own.map(({ id }) => id) } as const;
    if (dryRun) return ended;
    await recordVolumeEvent(transaction, { kind: 'volume.given-back', volumeId, ...source });
    await query(transaction, (orm) => orm.delete(attachments).where(eq(attachments.volumeId, volumeId)));
    await query(transaction, (orm) => orm.delete(snapshots).where(eq(snapshots.volumeId, volumeId)));
    await query(transaction, (orm) => orm.delete(volumes).where(eq(volumes.id, volumeId)));
    const where = and(eq(imports.kind, 'volume'), eq(imports.object, volumeId));
    await query(transaction, (orm) => orm.update(imports).set({ state: 'giving-back' }).where(where));
    return ended;
  });
}

interface Compared {
  volume: VolumeRow | undefined;
  note: ImportRow;
  own: readonly SnapshotRow[];
  notes: ReadonlyMap<string, ImportRow>;
  noted: readonly SnapshotId[];
}

/** @returns how rows differ from what was taken over; undefined where they do not. */
function findChange({ volume, note, own, notes, noted }: Compared): string | undefined {
  if (volume === undefined || volume.state === 'deleted') return 'it was deleted since';
  if (volume.updatedAt.getTime() !== note.importedAt.getTime()) return 'it was changed since';
  const made = own.find(({ id }) => !notes.has(id));
  if (made !== undefined) return `snapshot ${made.id} was taken since`;
  const changed = own.find(({ id, updatedAt }) => updatedAt.getTime() !== notes.get(id)?.importedAt.getTime());
  if (changed !== undefined) return `its snapshot ${changed.id} was changed since`;
  const gone = noted.find((id) => own.every((snapshot) => snapshot.id !== id));
  return gone === undefined ? undefined : `its snapshot ${gone} was deleted since`;
}

/** @returns what was taken over with a volume. */
async function readNotesOf(on: Queryable, kind: ImportedKind, volumeId: VolumeId): Promise<string[]> {
  const isOf = sql`${imports.detail} ->> 'volumeId' = ${volumeId}`;
  const where = and(eq(imports.kind, kind), ne(imports.state, 'given-back'), isOf);
  const rows = await query(on, (orm) => orm.select({ object: imports.object }).from(imports).where(where));
  return rows.map(({ object }) => object);
}

/** Notes that nothing of these is left here. */
export async function markGivenBack(
  database: Queryable,
  { kind, objects, runId }: { kind: ImportedKind; objects: readonly string[]; runId: string },
): Promise<void> {
  if (objects.length === 0) return;
  const where = and(eq(imports.kind, kind), inArray(imports.object, [...objects]));
  await query(database, (orm) => orm.update(imports).set({ state: 'given-back', runId }).where(where));
}
