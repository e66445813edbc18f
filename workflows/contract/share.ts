import type { Caller } from './event-kinds';
import type { BackendName, ImageId, ProjectId, SnapshotId } from './ids';
import type { UploadedImage, UploadPlan, UploadTransfer } from './upload';

/** Visibilities of an image that is made of a snapshot. */
export const shareVisibilities = ['shared', 'community', 'public'] as const;
export type ShareVisibility = (typeof shareVisibilities)[number];

/** Input of `ShareSnapshot`, as any Temporal client may send it. Only `snapshotId` is required. */
export interface ShareSnapshotInput extends Caller {
  snapshotId: string;
  /** Only a snapshot of this project; another's is `SnapshotNotFound`, as what never was. Default, for operators: of any. */
  projectId?: string;
  /** Default: `shared`, with the members alone. */
  visibility?: ShareVisibility;
  /** Projects that may use it, besides those that may already. */
  members?: string[];
  /** The image's; default: the snapshot's, else `snapshot-<id>`. Of one that is there it stays. */
  name?: string;
}

/** The admitted request of a share. */
export interface SharePlan extends UploadPlan {
  visibility: ShareVisibility;
  members: ProjectId[];
}

/** Result of `ShareSnapshot`. How its bytes came is absent where it was shared before. */
export interface ShareSnapshotResult extends UploadedImage, Partial<UploadTransfer> {
  snapshotId: SnapshotId;
  imageId: ImageId;
  projectId: ProjectId;
  backend: BackendName;
  name: string;
  visibility: ShareVisibility;
  /** All projects that may use it by name. */
  members: ProjectId[];
  /** One sentence for people. */
  summary: string;
}

/** Input of `UnshareSnapshot`. */
export interface UnshareSnapshotInput extends Caller {
  snapshotId: string;
  /** As for `ShareSnapshot`. */
  projectId?: string;
  /** Only these lose it. Default: everybody, and the image is deleted. */
  members?: string[];
}

/** The admitted request to end a share; `imageId` is null where it is not shared. */
export interface UnsharePlan extends Caller {
  snapshotId: SnapshotId;
  projectId: ProjectId;
  imageId: ImageId | null;
  members?: ProjectId[];
  /** Image-volumes that may be clones of the image itself: it cannot be deleted before they have bytes of their own. */
  parents: { backend: BackendName; imageVolume: string }[];
}

/** Result of `UnshareSnapshot`. */
export interface UnshareSnapshotResult {
  snapshotId: SnapshotId;
  imageId: ImageId | null;
  /**
   * `absent`: it was not shared. `members-removed`: others still have it. `revoked`: nobody but its own project may use the image any more, and the image
   * service keeps it, since clones elsewhere need it: that project may delete it there later.
   */
  outcome: 'deleted' | 'revoked' | 'members-removed' | 'absent';
  /** One sentence for people. */
  summary: string;
}
