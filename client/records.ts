import type { FailedKind } from '../workflows/contract/message';
import type { AttachmentStatus, AttachMode, Connector } from '../workflows/contract/attachment';
import type { CacheLimitValues, StayReason } from '../workflows/contract/eviction';
import type {
  BackendName,
  EntryId,
  ImageId,
  ProjectId,
  SnapshotId,
  TransferId,
  VolumeId,
} from '../workflows/contract/ids';
import type { CacheKey, EntryVerdict } from '../workflows/contract/image';
import type { QuotaName } from '../workflows/contract/quotas';
import type { HeldSnapshotStatus, SnapshotState } from '../workflows/contract/snapshot';
import type { VolumeTypeChange, VolumeTypeEncryption } from '../workflows/contract/volume-type';
import type { Connection, HeldStatus, Outcome, TimingsMs, VolumeState } from '../workflows/contract/volume';

/*
 * The records of the inventory, as programs see them: field names here are those of `--json` and stay. Times are
 * RFC 3339, sizes bytes.
 */

export interface Volume {
  volumeId: VolumeId;
  name: string | null;
  description: string | null;
  projectId: ProjectId;
  state: VolumeState;
  /** The status that its users have given it, in Cinder's words, where `state` is `available`; null: none. */
  status: HeldStatus | null;
  /** Whether a run is about to give it the bytes of an image in place of its own. */
  isReimaging: boolean;
  backend: BackendName;
  volumeType: string | null;
  /** Null where it has none, or one of the configuration. */
  volumeTypeId: string | null;
  /** Why its backend was chosen; null where its request named it. */
  placement: string | null;
  /** Null where its bytes are of no image. */
  imageId: ImageId | null;
  /** Null until the image's virtual size is known. */
  sizeBytes: number | null;
  /** Its source, where that is no image. */
  snapshotId: SnapshotId | null;
  sourceVolumeId: VolumeId | null;
  /** How its create was answered. */
  outcome: Outcome | null;
  /** The cache entry that it was cloned from. */
  entryId: EntryId | null;
  connection: Connection | null;
  /** Its holder, for people. */
  attachedTo: string | null;
  /** The oldest first. */
  attachments: Attachment[];
  readOnly: boolean;
  multiattach: boolean;
  bootable: boolean;
  metadata: Record<string, string>;
  imageMetadata: Record<string, string>;
  /** Why it is in `error`; the message is public. */
  error: { type: string; message: string } | null;
  /** The requester; null: not said. */
  requestedBy: string | null;
  workflowId: string;
  createdAt: string;
  updatedAt: string;
  availableAt: string | null;
  deletedAt: string | null;
}

/** A holder of a volume, or one that is to have it. */
export interface Attachment {
  attachmentId: string;
  volumeId: VolumeId;
  projectId: ProjectId;
  /** The server; null: of none. */
  instanceId: string | null;
  hostName: string | null;
  mountpoint: string | null;
  /** Null: nobody has said. */
  mode: AttachMode | null;
  status: AttachmentStatus;
  /** Of the host; null: none is known yet. */
  connector: Connector | null;
  createdAt: string;
  attachedAt: string | null;
}

/** A volume type that administrators have made; those of the configuration are not among them. */
export interface VolumeType extends Required<Pick<VolumeTypeChange, 'name' | 'isPublic' | 'extraSpecs'>> {
  volumeTypeId: string;
  description: string | null;
  /** Projects that may use it where it is not public. */
  projects: ProjectId[];
  encryption: VolumeTypeEncryption | null;
}

/** Which type the volumes of a project have that ask for none: one of the configuration or of the others. */
export interface DefaultType {
  projectId: ProjectId;
  volumeTypeId: string;
}

/** A snapshot of a volume. */
export interface Snapshot {
  snapshotId: SnapshotId;
  /** The volume that it was taken of. */
  volumeId: VolumeId;
  name: string | null;
  description: string | null;
  projectId: ProjectId;
  state: SnapshotState;
  /** The status that an administrator has given it, in Cinder's words, where `state` is `available`; null: none. */
  status: HeldSnapshotStatus | null;
  /** With `status`. */
  progress: string | null;
  backend: BackendName;
  /** Of the volume. */
  sizeBytes: number;
  metadata: Record<string, string>;
  /** Why it is in `error`; the message is public. */
  error: { type: string; message: string } | null;
  /** By which other projects use it: see `shareSnapshot`. */
  sharedImageId: ImageId | null;
  /** The requester; null: not said. */
  requestedBy: string | null;
  workflowId: string;
  createdAt: string;
  updatedAt: string;
  availableAt: string | null;
  deletedAt: string | null;
}

/** An offer of a volume to the project that has its key. */
export interface Transfer {
  transferId: TransferId;
  volumeId: VolumeId;
  /** Offers it. */
  projectId: ProjectId;
  name: string | null;
  noSnapshots: boolean;
  createdAt: string;
}

/** About what has failed after its request was accepted. */
export interface Message {
  messageId: string;
  at: string;
  kind: FailedKind;
  /** One of the failures' types; an empty one where it is not known. */
  error: string;
  /** Whether its volume has, or was to have, the bytes of an image. */
  ofImage: boolean;
  /** Id of the volume or the snapshot. */
  object: string;
  requestId: string | null;
  projectId: ProjectId | null;
}

export const cacheEntryStates = ['populating', 'ready', 'retired', 'deleting', 'gone'] as const;
export type CacheEntryState = (typeof cacheEntryStates)[number];

export interface CacheEntry {
  entryId: EntryId;
  backend: BackendName;
  cacheKey: CacheKey;
  generation: number;
  state: CacheEntryState;
  /** Why it left `ready`. */
  reason: string | null;
  /** Its name on the backend. */
  imageVolume: string;
  virtualBytes: number | null;
  realBytes: number;
  /** Seconds that its population took. */
  costSeconds: number | null;
  uses: number;
  clones: number;
  /** Bytes that its deletion would free, by the backend's last answer; null before the first. */
  reclaimableBytes: number | null;
  pinned: boolean;
  pinnedBy: string | null;
  /** Null for what goes, or is gone. */
  whyItStays: StayReason | null;
  createdAt: string;
  readyAt: string | null;
  lastUsedAt: string | null;
  /** When newer content took its place. */
  supersededAt: string | null;
  retiredAt: string | null;
  /** Whose signature its bytes were verified to have; null where none was asked for. */
  signature: NonNullable<EntryVerdict['signature']> | null;
  images: { imageId: ImageId; projectId: ProjectId; state: string; lastSeenAt: string }[];
}

/** An event in the history of an entry. */
export interface EntryEvent {
  at: string;
  kind: string;
  reason: string | null;
  /** One sentence for people. */
  detail: string | null;
  bytes: number | null;
  workflowId: string | null;
}

/** An event of a volume, an entry or the cache: it stays complete when that is gone. */
export interface AuditEvent {
  /** `--after` takes it. */
  eventId: string;
  at: string;
  /** Such as `volume.deleted`. */
  kind: string;
  /** Id or name of what it happened to. */
  object: string;
  /** The requester, as the caller said; null: none, or one who did not say. */
  by: string | null;
  /** Of the caller; where that gave none, the ids of workflow and run. */
  requestId: string;
  /** Owns the volume. */
  projectId: ProjectId | null;
  volumeId: VolumeId | null;
  imageId: ImageId | null;
  entryId: EntryId | null;
  backend: BackendName | null;
  detail: Record<string, unknown>;
  workflowId: string;
}

/** The limits of a backend's cache, and which of them an operator has set. */
export interface BackendLimits {
  values: CacheLimitValues;
  setByOperator: string[];
  setBy: string | null;
  setAt: string | null;
}

/** A standing order: the newest active image that matches is kept populated. */
export interface Follow {
  /** A create names it as `follow:<name>`. */
  name: string;
  backend: BackendName;
  imageName: string;
  owner: ProjectId | null;
  tags: string[];
  properties: Record<string, string>;
  keep: number;
  pin: boolean;
  /** The image that creates use while its entry is ready. */
  currentImageId: ImageId | null;
  currentEntryId: EntryId | null;
  currentSince: string | null;
  /** The newest that matched, ready or not. */
  newestImageId: ImageId | null;
  checkedAt: string | null;
  /** Why the last check failed. */
  problem: string | null;
  createdBy: string;
  createdAt: string;
}

/** A limit of a project: null for none. */
export interface ProjectQuota {
  limit: number | null;
  /** Null where the limit is one volume's. */
  used: number | null;
  /** Null where it is the configuration's. */
  setBy: string | null;
  setAt: string | null;
}

export interface ProjectQuotas {
  projectId: ProjectId;
  quotas: Record<QuotaName, ProjectQuota>;
}

/** The parent of clones, as an operator sees it among volumes: it is the internal tenant's. */
export interface ImageVolume {
  entryId: EntryId;
  /** Its name on the backend. */
  name: string;
  /** Null while no worker has started. */
  projectId: ProjectId | null;
  state: CacheEntryState;
  backend: BackendName;
  imageIds: ImageId[];
  sizeBytes: number | null;
  createdAt: string;
}

/**
 * A refusal of bytes that is remembered: creates of images with the same bytes hear it until the policy changes, or
 * until it is forgotten.
 */
export interface Refusal {
  backend: BackendName;
  cacheKey: CacheKey;
  /** The image whose bytes were inspected. */
  imageId: ImageId;
  rule: string;
  /** The public message. */
  message: string;
  /** The version of the image policy that refused it. */
  policyVersion: string;
  refusedAt: string | null;
}

/** One answer to one create. */
export interface Decision {
  at: string;
  volumeId: VolumeId | null;
  projectId: ProjectId | null;
  backend: BackendName | null;
  imageId: ImageId | null;
  entryId: EntryId | null;
  outcome: string;
  reason: string;
  errorType: string | null;
  bytesDownloaded: number;
  /** The savings by the cache. */
  savedBytes: number;
  savedSeconds: number;
  timingsMs: TimingsMs;
  workflowId: string;
}

/** Decisions of a while, by outcome. */
export interface DecisionSummary {
  hit: number;
  miss: number;
  joined: number;
  bypassed: number;
  refused: number;
  failed: number;
  bytesDownloaded: number;
  /** Bytes that clones of cached images did not download, and the seconds of population that they saved. */
  savedBytes: number;
  savedSeconds: number;
  /** Hits of all creates that were answered with a volume, 0 to 1; null when there was none. */
  hitRate: number | null;
}

export interface BackendStatus {
  backend: BackendName;
  driver: string;
  /** How its clones are made, and why not in the driver's fastest way; null when they are. */
  clones: { method: string; reason: string | null };
  /** The image service's store from which its worker clones images, and why it cannot; null where it does not try. */
  imageStore: { name: string; reason: string | null } | null;
  /** The last measurement by a worker; null before the first. */
  space: { totalBytes: number; freeBytes: number; seenAt: string | null } | null;
  cache: {
    enabled: boolean;
    policy: string;
    maxBytes: number;
    maxCount: number;
    usedBytes: number;
    count: number;
    /** Of `usedBytes`, what running populations have reserved. */
    reservedBytes: number;
    /** Of retired parents that clones hold; outside of the limits. */
    pinnedBytes: number;
  };
  limits: BackendLimits;
  decisions: DecisionSummary;
}
