import type { Caller } from './event-kinds';
import type { BackendName, EntryId, ProjectId, SnapshotId, VolumeId } from './ids';

export const snapshotStates = ['creating', 'available', 'error', 'deleting', 'deleted'] as const;
export type SnapshotState = (typeof snapshotStates)[number];

/** Cinder's statuses of an `available` snapshot of which an administrator has said that it is something else. */
export const heldSnapshotStatuses = ['creating', 'error', 'deleting', 'error_deleting'] as const;
export type HeldSnapshotStatus = (typeof heldSnapshotStatuses)[number];

/** Properties of a snapshot that may be changed; those left out stay as they are. */
export interface SnapshotChange {
  /** Null: none. */
  name?: string | null;
  /** Null: none. */
  description?: string | null;
  /** Metadata to set; other keys stay. */
  metadata?: Record<string, string>;
  /** Keys of metadata to remove; the absent is done. */
  unsetMetadata?: string[];
  /** An operator's, so without `projectId`: the status that an available snapshot is said to have. */
  status?: HeldSnapshotStatus | 'available';
  /** With `status`: how far its work is said to be, as text for people. */
  progress?: string;
}

/** Input of `ChangeSnapshot`. */
export interface ChangeSnapshotInput extends Caller, SnapshotChange {
  snapshotId: string;
  /** Only of this project; absent, for operators: of any. */
  projectId?: string;
}

/** Result of `ChangeSnapshot`: the snapshot as it is now. */
export interface ChangeSnapshotResult {
  snapshotId: SnapshotId;
  name: string | null;
  description: string | null;
  metadata: Record<string, string>;
}

/** Properties that a list of snapshots may be sorted by. */
export const snapshotOrders = ['createdAt', 'name', 'id'] as const;
export type SnapshotOrder = (typeof snapshotOrders)[number];

export interface SnapshotSort {
  by: SnapshotOrder;
  descending: boolean;
}

/** Input of `CreateSnapshot`, as any Temporal client may send it. Only `volumeId` is required. */
export interface CreateSnapshotInput extends Caller {
  volumeId: string;
  /** Default: from the workflow's id. */
  snapshotId?: string;
  /** Only of a volume of this project; another's is `VolumeNotFound`. Default, for operators: of any. */
  projectId?: string;
  name?: string;
  description?: string;
  metadata?: Record<string, string>;
}

/** Result of `CreateSnapshot`. */
export interface CreateSnapshotResult {
  snapshotId: SnapshotId;
  volumeId: VolumeId;
  projectId: ProjectId;
  backend: BackendName;
  name: string | null;
  sizeBytes: number;
}

/** Data that the steps of a snapshot share. */
export type SnapshotPlan = CreateSnapshotResult;

/** Input and result of `DeleteSnapshot`. */
export interface DeleteSnapshotInput extends Caller {
  snapshotId: string;
  /** Only a snapshot of this project; another's is `SnapshotNotFound`, as what never was. Default, for operators: of any. */
  projectId?: string;
}
export interface DeleteSnapshotResult {
  snapshotId: SnapshotId;
  /** `absent`: there was nothing left to delete. */
  outcome: 'deleted' | 'absent';
  /** The retired parent that went with what held it last. */
  deletedParent?: EntryId;
}
