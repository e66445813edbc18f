import { sql } from 'drizzle-orm/sql';
import type { ImageId, SnapshotId } from '../workflows/contract/ids';
import type { Database } from './client';
import { cacheEntries, snapshots, type SnapshotRow } from './schema';
import { snapshotEventsOf, type EventSource } from './events';
import { isInScope, type ProjectScope } from './scope';
import { columnsOf, readRows, readTable, runStatement } from './statement';

/**
 * Notes the image by which an available snapshot is shared. Compare-and-set: where another is noted it stays, unless that is `gone`.
 * @returns the row as it is then; undefined where the scope has no such snapshot, or it is not available.
 */
export async function noteShare(
  database: Database,
  {
    snapshotId,
    imageId,
    gone,
    scope,
  }: { snapshotId: SnapshotId; imageId: ImageId; gone?: ImageId; scope: ProjectScope },
): Promise<SnapshotRow | undefined> {
  const [row] = await readTable(
    database,
    snapshots,
    (columns) => sql`update snapshots set
        shared_image_id = case when shared_image_id is null or shared_image_id = ${gone ?? null} then ${imageId} else shared_image_id end
      where id = ${snapshotId} and ${isInScope(snapshots.projectId, scope)} and state = 'available' returning ${columns}`,
  );
  return row;
}

/** Records who was given a snapshot, or who lost it, once for each run. */
export async function recordShareEvent(
  database: Database,
  {
    snapshotId,
    kind,
    detail,
    source,
  }: {
    snapshotId: SnapshotId;
    kind: 'snapshot.shared' | 'snapshot.unshared';
    detail: Record<string, unknown>;
    source: EventSource;
  },
): Promise<void> {
  const row = sql`select ${columnsOf(snapshots)} from snapshots where id = ${snapshotId}`;
  await runStatement(
    database,
    sql`with changed as (${row}) ${snapshotEventsOf('changed', { kind, detail, ...source })}`,
  );
}

/** The snapshot is shared by this image no more. Idempotent. */
export async function endShare(
  database: Database,
  { snapshotId, imageId }: { snapshotId: SnapshotId; imageId: ImageId },
): Promise<void> {
  await runStatement(
    database,
    sql`update snapshots set shared_image_id = null where id = ${snapshotId} and shared_image_id = ${imageId}`,
  );
}

/** @returns image-volumes, on whatever backend, that were made of an image and are there. */
export async function listParentsOf(database: Database, { imageId }: { imageId: ImageId }) {
  return await readRows(
    database,
    { backend: cacheEntries.backend, imageVolume: cacheEntries.imageVolume },
    (columns) => sql`select ${columns} from cache_entries
      where id in (select entry_id from entry_images where image_id = ${imageId}) and state in ('ready', 'retired')
      order by created_at limit 1000`,
  );
}
