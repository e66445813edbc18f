import { MISSING } from '../../db/reconcile/reconcile-volumes';
import type { EntryRow, SnapshotRow, VolumeRow } from '../../db/schema';
import type { BackendName, SnapshotId, VolumeId } from '../../workflows/contract/ids';
import type { BackendObject, ImageVolumeMarker, VolumeMarker } from '../backends/backend';
import { shortKeyOf } from '../kit/cache-key';

export interface FoundObject<Marker> {
  name: string;
  marker: Marker;
  realBytes: number;
  modifiedAt: Date;
}

/** Results of the comparison of everything in the backend's place, for the steps after it. */
export interface Scan {
  /** Volumes and image-volumes of this installation. */
  own: number;
  /** Ids of snapshots that are there. */
  snapshots: Set<SnapshotId>;
  imageVolumes: Map<string, FoundObject<ImageVolumeMarker>>;
  /** Image-volumes without a row, or whose row is gone, and that row. */
  orphans: { object: FoundObject<ImageVolumeMarker>; row: EntryRow | undefined }[];
  volumesWithoutRow: FoundObject<VolumeMarker>[];
  /**
   * Volumes whose row says that they were never available, and whose run may have ended otherwise: the database is
   * older.
   */
  finished: { volume: FoundObject<VolumeMarker>; row: VolumeRow }[];
}

/** The rows of a batch of objects. */
export interface ObjectRows {
  volumes: ReadonlyMap<VolumeId, VolumeRow>;
  /** Those whose bytes are being replaced. */
  reimaging: ReadonlySet<VolumeId>;
  snapshots: ReadonlyMap<SnapshotId, SnapshotRow>;
  /** By image-volume. */
  entries: ReadonlyMap<string, EntryRow>;
}

/**
 * Pure. State of a volume on the backend, by its row. `ended`: nothing of it should be there. `unfinished`: only its
 * run tells whether somebody got it. `elsewhere`: the row's volume is on another backend.
 */
export function classifyVolume(
  row: VolumeRow | undefined,
  backend: BackendName,
): 'in-order' | 'ended' | 'unfinished' | 'elsewhere' | 'without-row' {
  if (row === undefined) return 'without-row';
  if (row.backend !== backend) return 'elsewhere';
  // One that was available has a user's bytes, whatever the row says of it now.
  const wasAvailable = row.errorType === MISSING || row.connection !== null;
  if (row.state === 'deleted') return 'ended';
  return row.state === 'creating' || (row.state === 'error' && !wasAvailable) ? 'unfinished' : 'in-order';
}

/** Pure. State of an image-volume on the backend, by its row. */
export function classifyImageVolume(row: EntryRow | undefined): 'in-order' | 'orphan' {
  return row === undefined || row.state === 'gone' ? 'orphan' : 'in-order';
}

/** As `insertPopulatingEntry` names them: one that is named otherwise and has no row is nobody's. */
const imageVolumePattern = /^image-volume-[0-9a-f]{32}-\d+-[0-9a-f]{8}$/;

/**
 * Pure. Whether an object that an attempt has written is left over; one that a row waits for is its run's, alive or dead. `spare`: it has the name
 * of a user's volume, and is left over only where that volume is there as well.
 */
export function classifyPartial(
  { partial, hasObjectName }: BackendObject,
  { volumes, reimaging, snapshots, entries }: ObjectRows,
): 'awaited' | 'leftover' | 'spare' | 'foreign' {
  if (partial === undefined) return 'foreign';
  if (partial.kind === 'snapshot') {
    const row = snapshots.get(partial.name as SnapshotId);
    return row?.state === 'creating' || row?.state === 'deleting' ? 'awaited' : 'leftover';
  }
  if (partial.kind === 'volume') {
    const row = volumes.get(partial.name as VolumeId);
    if (row?.state === 'creating' || row?.state === 'deleting') return 'awaited';
    if (reimaging.has(partial.name as VolumeId)) return 'awaited';
    if (hasObjectName !== true) return 'leftover';
    if (row === undefined) return 'foreign';
    return classifyVolume(row, row.backend) === 'in-order' ? 'spare' : 'leftover';
  }
  const entry = entries.get(partial.name);
  if (entry === undefined && !imageVolumePattern.test(partial.name)) return 'foreign';
  return entry?.state === 'populating' || entry?.state === 'deleting' ? 'awaited' : 'leftover';
}

/**
 * Pure. Whether the marker is that of the volume itself: a file that was copied under another name is no volume of
 * ours.
 */
export function isOwnVolume({ name, marker }: { name: string; marker: VolumeMarker }): boolean {
  const { cacheKey } = marker;
  return marker.volumeId === name && (cacheKey === undefined || cacheKey.short === shortKeyOf(cacheKey));
}
