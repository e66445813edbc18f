import type { FailureRecord } from './failures';
import type { BackendName, EntryId, HostId, ImageId, ProjectId, SnapshotId, VolumeId } from './ids';
import type { CacheKey } from './image';
import type { BypassReason, CreateVolumeResult, FailedVolume, FailurePolicy, MadeVolume, TimingsMs } from './volume';

/** A flight's answer to everybody who waits for it. A verdict answers only its own flight's waiters. */
export type Verdict =
  /** `transfer`: how the bytes came, as the end of a sentence; absent where there is only one way. */
  | { kind: 'ready'; entryId: EntryId; bytesDownloaded: number; timingsMs: TimingsMs; transfer?: string }
  | { kind: 'bypass'; reason: BypassReason }
  /** `imageId`: the image that the flight read. `findFailureFor` gives the failure for those who wait for another image with the same bytes. */
  | { kind: 'failed'; failure: FailureRecord; imageId: ImageId };

/** A verdict as a waiter gets it. */
export interface FlightVerdict {
  verdict: Verdict;
  /** The volume whose join opened the flight: for the decision records. Null where no flight was needed. */
  leader: VolumeId | null;
}

/** A snapshot of a volume that is told to have an image's bytes: they need not be downloaded then. */
export interface CacheSeed {
  volumeId: VolumeId;
  snapshotId: SnapshotId;
}

/** Input of `PopulateImageCache`. The flight's number is not in it: a run claims the number that its row has when it begins. */
export interface PopulateInput {
  backend: BackendName;
  cacheKey: CacheKey;
  imageId: ImageId;
  /** The project that asked first: it may read the image. */
  projectId: ProjectId;
  /** Is tried before a download. */
  seed?: CacheSeed;
}

/** The admitted request of `CreateVolumeFromImage`; recorded in its history, so later steps decide by it. */
export interface Admission {
  imageId: ImageId;
  projectId: ProjectId;
  backend: BackendName;
  /** Absent where the request has none. */
  volumeType?: string;
  /** Absent where the configuration has the type. */
  volumeTypeId?: string;
  /** Whether the volume may be attached more than once at a time. Absent: no. */
  multiattach?: boolean;
  /** Why the backend was chosen; absent where the request names it. */
  placement?: string;
  name: string | null;
  /** For people; absent where an older version admitted the run. */
  imageName?: string | null;
  cacheKey: CacheKey;
  /** Bytes asked for; null: derived from the image once its virtual size is known. */
  sizeBytes: number | null;
  /** `min_disk` of the image, in bytes. */
  minDiskBytes: number;
  /** Stored bytes of the image. */
  imageBytes: number;
  bypass: BypassReason | null;
  /** Milliseconds that the create's activities may take together. */
  budgetMs: number;
  /** Milliseconds after which a waiter makes sure that its population still runs. */
  safetyIntervalMs: number;
  /** Milliseconds that one conversion may take; absent where an older version admitted the run. */
  conversionMs?: number;
  /** Whether the namespace knows our search attributes: an upsert of an unknown one blocks the workflow task for ever. */
  searchAttributes: boolean;
  admitMs: number;
}

/** One of several volumes that a run makes. */
export interface NamedVolume {
  volumeId: VolumeId;
  name: string | null;
}

/** The admitted request of `CreateVolumesFromImage`. */
export interface BulkAdmission extends Omit<Admission, 'name'> {
  /** The volumes that are to be made. */
  volumes: NamedVolume[];
  /** Those that the same request has made before. */
  available: MadeVolume[];
  /** All of them, as they were asked for. */
  order: VolumeId[];
  onFailure: FailurePolicy;
}

/** The answer of a step that clones a parent, or several, into many volumes. */
export interface BulkCloneOutcome {
  made: MadeVolume[];
  failed: FailedVolume[];
  /** Those for which there is no parent, and those that are to be completed together with them: ask again. */
  left: NamedVolume[];
  /** How many of those have no parent. */
  cold: number;
  /** An entry is ready, and full. */
  atCloneLimit: boolean;
  /** Retired parents that nothing needs any more. */
  freedEntries: FreedEntry[];
}

/** Image bytes on a host's scratch, complete and verified. */
export interface ScratchImage {
  hostId: HostId;
  contentHash: string;
  bytes: number;
  bytesDownloaded: number;
  downloadMs: number;
  /** Set where the image-volume was written meanwhile, and sealed; the scratch file is given back then. */
  written?: WrittenImageVolume;
}

/** A sealed image-volume. */
export interface WrittenImageVolume {
  virtualBytes: number;
  realBytes: number;
  convertMs: number;
}

/** A flight's reservation that the limits have no room for, once the image's own bytes say what its image-volume takes. */
export type NotCached = Extract<Verdict, { kind: 'bypass' }>;

/** The answer of a host whose scratch has had no room for a while, where another host may have some. */
export interface NoRoomHere {
  kind: 'no-room-here';
}

/**
 * The answer of a host that was asked to make an image-volume without its scratch. `transfer`: how the bytes came, where the backend may clone images
 * from their store. `unsuitable`: go through the scratch.
 */
export type StreamedImageVolume =
  | ({ kind: 'streamed'; bytesDownloaded: number; downloadMs: number; transfer?: string } & WrittenImageVolume)
  | { kind: 'unsuitable'; transfer?: string };

/** The course of one create so far; ends in its decision record. */
export interface Story {
  /** Unix time of the workflow's start. */
  startedAtMs: number;
  /** Milliseconds from the start to the step that gets this, by the server's clock: workers' clocks may differ. */
  elapsedMs?: number;
  outcome: CreateVolumeResult['outcome'];
  reason: string;
  /** Of several volumes, the one whose join opened the flight; the others have joined it. */
  leader?: VolumeId;
  /** With outcome `bypassed`. */
  bypassReason?: BypassReason;
  bytesDownloaded: number;
  timingsMs: TimingsMs;
}

/** The parent that a volume holds a lease on. */
export interface LeasedEntry {
  id: EntryId;
  /** The image-volume's name on the backend. */
  imageVolume: string;
  virtualBytes: number;
  generation: number;
}

/** A retired entry that nothing holds any more: its image-volume may be deleted. */
export interface FreedEntry {
  entryId: EntryId;
  imageVolume: string;
  backend: BackendName;
}

/**
 * The answer of a step that takes or clones a parent. `lost`: the parent is proven unusable and quarantined; ask the cache again.
 * `freedEntry`: a retired parent that nothing needs any more.
 */
export type CloneOutcome =
  { kind: 'cloned'; result: CreateVolumeResult; freedEntry?: FreedEntry } | { kind: 'lost'; freedEntry?: FreedEntry };
export type AcquireOutcome =
  CloneOutcome | { kind: 'leased'; entry: LeasedEntry } | { kind: 'cold'; atCloneLimit: boolean };

/** An entry that is to be populated. */
export interface ReservedEntry {
  id: EntryId;
  /** The name that its image-volume will have. */
  imageVolume: string;
  generation: number;
}

/** The answer of a flight's reservation. */
export type Reservation =
  /** `hostId`: the host of the very worker that reserved, where that one reaches the backend: no other needs to be picked. */
  { kind: 'reserved'; entry: ReservedEntry; hostId?: HostId } | Extract<Verdict, { kind: 'ready' | 'bypass' }>;
