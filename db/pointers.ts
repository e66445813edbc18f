import { and, asc, eq, gt, sql } from 'drizzle-orm/sql';
import type { BackendName, ImageId, ProjectId, SnapshotId, VolumeId } from '../workflows/contract/ids';
import type { Database } from './client';
import { imagePointers, type PointerRow } from './schema';
import { query, runStatement, transactionTime } from './statement';

interface NewPointer {
  imageId: ImageId;
  backend: BackendName;
  projectId: ProjectId;
  volumeId: VolumeId;
  snapshotId: SnapshotId;
  sizeBytes: number;
  /** That makes it. */
  workflowId: string;
  runId: string;
}

/** Writes a pointer down before it is made. Idempotent: one that is there becomes this run's, and stays as it is if it is ready. Undo: `forgetPointer`. */
export async function notePointer(database: Database, pointer: NewPointer): Promise<void> {
  const { workflowId, runId } = pointer;
  await query(database, (orm) =>
    orm
      .insert(imagePointers)
      .values({ ...pointer, state: 'making' })
      .onConflictDoUpdate({
        target: imagePointers.imageId,
        set: { workflowId, runId, updatedAt: transactionTime },
        setWhere: eq(imagePointers.state, 'making'),
      }),
  );
}

/** `making -> ready`: the image service has it. Repeated it changes nothing. */
export async function markPointerReady(database: Database, { imageId }: { imageId: ImageId }): Promise<void> {
  const making = and(eq(imagePointers.imageId, imageId), eq(imagePointers.state, 'making'));
  await query(database, (orm) =>
    orm.update(imagePointers).set({ state: 'ready', updatedAt: transactionTime }).where(making),
  );
}

/** Call it when the pointer is gone. The absent is done. */
export async function forgetPointer(database: Database, { imageId }: { imageId: ImageId }): Promise<void> {
  await runStatement(database, sql`delete from image_pointers where image_id = ${imageId}`);
}

/** @returns one page, by image. */
export async function listPointers(
  database: Database,
  { backend, afterId, limit }: { backend: BackendName; afterId?: ImageId; limit: number },
): Promise<PointerRow[]> {
  const after = afterId === undefined ? undefined : gt(imagePointers.imageId, afterId);
  return await query(database, (orm) =>
    orm
      .select()
      .from(imagePointers)
      .where(and(eq(imagePointers.backend, backend), after))
      .orderBy(asc(imagePointers.imageId))
      .limit(limit),
  );
}
