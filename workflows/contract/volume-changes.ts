import type { Caller } from './event-kinds';
import type { BackendName, ContentId, ImageId, VolumeId } from './ids';
import type { Connection, HeldStatus } from './volume';

/** Characters of a volume's name, of a key and of a value of its metadata. Source: Cinder. */
export const MAX_NAME_CHARACTERS = 255;
export const MAX_METADATA_ENTRIES = 128;

/** Entries of a volume's image metadata at most. */
export const MAX_IMAGE_METADATA_ENTRIES = 256;

/** Properties of a volume that may be changed without its backend; those left out stay as they are. */
export interface VolumeChange {
  /** Null: none. */
  name?: string | null;
  /** Null: none. */
  description?: string | null;
  /** Metadata to set; other keys stay. */
  metadata?: Record<string, string>;
  /** Keys of metadata to remove; the absent is done. */
  unsetMetadata?: string[];
  bootable?: boolean;
  /** Metadata of its image to set; other keys stay. */
  imageMetadata?: Record<string, string>;
  /** Keys of its image's metadata to remove; the absent is done. */
  unsetImageMetadata?: string[];
  /** Whether it may only be attached for reading. */
  readOnly?: boolean;
  /** Another type that allows the volume's backend: its bytes stay where they are. */
  volumeType?: string;
  /** An operator's, so without `projectId`: the status that an `available` volume is said to have. */
  status?: HeldStatus | 'available';
}

/** Of verbs on a volume that is there. */
interface OnVolume extends Caller {
  volumeId: string;
  /** Only of this project; absent, for operators: of any. */
  projectId?: string;
}

/** Input of `ChangeVolume`. */
export interface ChangeVolumeInput extends OnVolume, VolumeChange {}

/** Result of `ChangeVolume`: the volume as it is now. */
export interface ChangeVolumeResult {
  volumeId: VolumeId;
  name: string | null;
  description: string | null;
  metadata: Record<string, string>;
  bootable: boolean;
}

/** Properties that a list of volumes may be sorted by. */
export const volumeOrders = ['createdAt', 'updatedAt', 'name', 'sizeBytes', 'state', 'bootable', 'id'] as const;
export type VolumeOrder = (typeof volumeOrders)[number];

export interface VolumeSort {
  by: VolumeOrder;
  descending: boolean;
}

/** Input of `ExtendVolume`. */
export interface ExtendVolumeInput extends OnVolume {
  /** Bytes, a multiple of 512, at least what it has. */
  sizeBytes: number;
}

/** Result of `ExtendVolume`. */
export interface ExtendVolumeResult {
  volumeId: VolumeId;
  sizeBytes: number;
  /** The same when it was so large already. */
  formerSizeBytes: number;
  /** The program that has the volume open, where one is seen: its guest has the new size once it has looked for it. */
  openedBy: string | null;
}

/** The growth that `ExtendVolume` has promised to a volume. */
export interface Extension {
  volumeId: VolumeId;
  backend: BackendName;
  sizeBytes: number;
  formerSizeBytes: number;
}

/** Input of `ReimageVolume`. */
export interface ReimageVolumeInput extends OnVolume {
  /** The image whose bytes it is to have, or `follow:<name>`. */
  imageId: string;
  /** Writes the image directly into the volume. Default: false. */
  bypassCache?: boolean;
  /** Also a volume that is reserved, which stays so. Default: false. */
  reimageReserved?: boolean;
}

/** Result of `ReimageVolume`. */
export interface ReimageVolumeResult {
  volumeId: VolumeId;
  imageId: ImageId;
  /** Null: its bytes were of no image. */
  formerImageId: ImageId | null;
  backend: BackendName;
  sizeBytes: number;
  connection: Connection;
  /** 0 where the image was cached already. */
  bytesDownloaded: number;
  /** One sentence for people. */
  summary: string;
}

/** A reimage that was begun. */
export interface Reimage {
  volumeId: VolumeId;
  backend: BackendName;
  imageId: ImageId;
  formerImageId: ImageId | null;
  contentId: ContentId;
}
