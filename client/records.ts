import type { BackendName, EntryId, ImageId, ProjectId, VolumeId } from '../workflows/contract/ids';
import type { CacheKey } from '../workflows/contract/image';
import type { Connection, Outcome, TimingsMs, VolumeState } from '../workflows/contract/volume';

/*
 * What the inventory says, as programs see it: field names here are those of `--json` and stay. Times are RFC 3339, sizes bytes.
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
  pinned: boolean;
  createdAt: string;
  readyAt: string | null;
  lastUsedAt: string | null;
  images: { imageId: ImageId; projectId: ProjectId; state: string; lastSeenAt: string }[];
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
  /** Hits of all creates that were answered with a volume, 0 to 1; null when there was none. */
  hitRate: number | null;
}

export interface BackendStatus {
  backend: BackendName;
  driver: string;
  /** What a worker saw last on the backend itself; null while none has looked. */
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
  decisions: DecisionSummary;
}
