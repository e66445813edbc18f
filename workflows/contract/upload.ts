import type { Caller } from './event-kinds';
import type { BackendName, EntryId, ImageId, ProjectId, SnapshotId, VolumeId } from './ids';

/** Disk formats in which a volume can be uploaded. */
export const uploadDiskFormats = ['raw', 'qcow2'] as const;
export type UploadDiskFormat = (typeof uploadDiskFormats)[number];

export const imageVisibilities = ['private', 'shared', 'community', 'public'] as const;
export type ImageVisibility = (typeof imageVisibilities)[number];

/** Input of `UploadVolumeToImage`, as any Temporal client may send it. */
export interface UploadVolumeInput extends Caller {
  /** Default: from the workflow's id, `upload/<volumeId>/<imageId>`. */
  volumeId?: string;
  /** Only a volume of this project; another's is `VolumeNotFound`, as what never was. Default, for operators: of any. */
  projectId?: string;
  /** The id that the image gets; one that no image has had. Default: from the workflow's id. */
  imageId?: string;
  /** Default: the volume's, else `volume-<id>`. */
  name?: string;
  /** Default: `raw`. */
  diskFormat?: UploadDiskFormat;
  /** Default: `bare`. */
  containerFormat?: 'bare';
  /** Default: `private`. */
  visibility?: ImageVisibility;
  /** Whether nobody may delete the image. Default: false. */
  isProtected?: boolean;
  /** Its volume is `uploading` until the upload ends, and must be `available` before. Default: its status stays as it is. */
  holdVolume?: boolean;
  /** With `holdVolume`: also a volume that is in use. */
  force?: boolean;
  /** Whether the image is to be cached on the volume's backend, without a download. */
  seedCache?: boolean;
  /** Before those that the volume has from its own image. */
  properties?: Record<string, string>;
}

/** The image as its record is to be. */
export interface UploadRecord {
  name: string;
  diskFormat: UploadDiskFormat;
  containerFormat: 'bare';
  visibility: ImageVisibility;
  minDiskGiB: number;
  minRamMiB: number;
  properties: Record<string, string>;
}

/** The snapshot of a volume that an image is made of, or compared with. */
export interface ImageSnapshot {
  snapshotId: SnapshotId;
  volumeId: VolumeId;
  /** Of the volume. */
  projectId: ProjectId;
  /** Of the volume. */
  sizeBytes: number;
  imageId: ImageId;
}

/** The admitted request of an upload; recorded in its history, so later steps decide by it. */
export interface UploadPlan extends Caller, ImageSnapshot {
  backend: BackendName;
  seedCache: boolean;
  /** Whether the bytes may be a clone in the image service's own store. Absent in runs of an older version. */
  byPointer?: boolean;
  /** Whether the volume is `uploading` until the run ends. */
  isHeld?: boolean;
  /** Whether nobody may delete the image, but for an upload that has failed. */
  isProtected?: boolean;
  record: UploadRecord;
}

/** An active image's stored bytes, as the image service has them. */
export interface UploadedImage {
  /** Bytes of the stored file. */
  imageBytes: number;
  hashAlgorithm: string;
  hashValue: string;
}

export type PointedImage =
  | { kind: 'pointed'; image: UploadedImage }
  /** `reason`: for people, the end of a sentence. Nothing is left of it. */
  | { kind: 'impossible'; reason: string };

/** How an image got its bytes: as a clone of the snapshot in the image service's own store, or sent to the service. */
export interface UploadTransfer {
  transfer: 'pointer' | 'sent';
  /** Why the bytes were sent where a clone was tried: for people, the end of a sentence. */
  transferReason?: string;
}

/** Result of `UploadVolumeToImage`. How its bytes came is absent where an earlier run has made the image. */
export interface UploadVolumeResult extends UploadedImage, Partial<UploadTransfer> {
  volumeId: VolumeId;
  imageId: ImageId;
  projectId: ProjectId;
  backend: BackendName;
  name: string;
  diskFormat: UploadDiskFormat;
  /** With `seedCache`. */
  seeded?: SeedOutcome;
  /** One sentence for people. */
  summary: string;
}

/** Whether an image is cached now. */
export interface SeedOutcome {
  /** `ready`: it was cached already. */
  outcome: 'populated' | 'ready' | 'not-cached' | 'failed';
  entryId: EntryId | null;
  /** 0 where the volume's bytes were copied. */
  bytesDownloaded: number;
  /** One sentence for people. */
  summary: string;
}

/** Input of `SeedImageCache`, an operator's: the volume is said to hold the image's bytes, and is compared. Any Temporal client may start it. */
export interface SeedInput extends Caller {
  imageId: string;
  volumeId: string;
}

/** The admitted request of a seeding. */
export interface SeedPlan extends ImageSnapshot {
  backend: BackendName;
  /** Of the image. */
  imageBytes: number;
  /** A name that node:crypto knows. */
  algorithm: string;
  /** Hex. */
  hash: string;
  /**
   * The volume was taken over from Cinder, whose cache it served for this image: it is compared as it becomes the parent, as far as a
   * hash tells of its bytes.
   */
  isTold?: boolean;
}

/** Result of `SeedImageCache`. */
export interface SeedResult extends SeedOutcome {
  imageId: ImageId;
  volumeId: VolumeId;
  backend: BackendName;
}
