import type { CacheLimitValues, StayReason } from '../workflows/contract/eviction';
import type { BackendName, EntryId, ImageId, ProjectId, VolumeId } from '../workflows/contract/ids';
import type { CacheKey } from '../workflows/contract/image';
import type { Connection, Outcome, TimingsMs, VolumeState } from '../workflows/contract/volume';

/*
 * The records of the inventory, as programs see them: field names here are those of `--json` and stay. Times are
 * RFC 3339, sizes bytes.
 */

export interface Volume {
  volumeId: VolumeId;
  name: string | null;
  projectId: ProjectId;
  state: VolumeState;
  backend: BackendName;
  imageId: ImageId;
  /** Null until the image's virtual size is known. */
  sizeBytes: number | null;
  /** How its create was answered. */
  outcome: Outcome | null;
  /** The cache entry that it was cloned from. */
  entryId: EntryId | null;
  connection: Connection | null;
  attachedTo: string | null;
  bootable: boolean;
  metadata: Record<string, string>;
  imageMetadata: Record<string, string>;
  /** Why it is in `error`; the message is public. */
  error: { type: string; message: string } | null;
  workflowId: string;
  createdAt: string;
  availableAt: string | null;
  deletedAt: string | null;
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
