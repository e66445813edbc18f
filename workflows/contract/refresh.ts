import type { Caller } from './event-kinds';
import type { StayReason } from './eviction';
import type { BackendName, EntryId, FollowId, ImageId, ProjectId } from './ids';

/** Which images a follow means; every field that is set must match. */
export interface FollowSpec {
  /** A create names it `follow:<name>`; default: the image's name. */
  name: string;
  imageName: string;
  owner?: ProjectId;
  tags: string[];
  properties: Record<string, string>;
  backend: BackendName;
  /** Generations of superseded content that stay. */
  keep: number;
  pin: boolean;
}

/** `imageId` of a create that means what a follow has ready. */
export const followPrefix = 'follow:';

/** Shape of a follow's name: it is part of a workflow id and of `follow:<name>`. */
export const followNamePattern = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/;

/**
 * Input of `FollowImage`: sets a follow, or changes the one of that name, and checks it at once. Any Temporal client
 * may start it.
 */
export interface FollowInput {
  imageName: string;
  name?: string;
  owner?: string;
  tags?: string[];
  properties?: Record<string, string>;
  backend?: string;
  /** Default: `keepSuperseded` of the backend's cache. */
  keep?: number;
  pin?: boolean;
}

/** Input of `UnfollowImage`. Entries of the follow stay cached and are no longer pinned for it. */
export interface UnfollowInput {
  name: string;
  backend?: string;
}

export interface UnfollowResult {
  name: string;
  backend: BackendName;
  /** `absent`: there was none. */
  outcome: 'removed' | 'absent';
}

/** Input of `RefreshImageCache`; every field has a default. */
export interface RefreshInput {
  /** Asks only about these; default: every image behind an entry, and every follow. */
  imageIds?: string[];
  /** Only this follow, by name. */
  follow?: string;
  backend?: string;
  /**
   * An operator's word that images which are not found are gone, however many they are and whatever the service looks
   * like.
   */
  acceptMissing?: boolean;
  /** Where a run that was continued as new goes on. */
  cursor?: RefreshCursor;
}

export interface RefreshCursor {
  afterImageId: ImageId | null;
  imagesDone: boolean;
  /** Images that were not found so far. Whether they are gone is decided after all were checked. */
  missing?: ImageId[];
  result: RefreshResult;
}

export interface RefreshResult {
  imagesAsked: number;
  usable: number;
  deactivated: number;
  gone: number;
  /** Images that were not found, and whose absence is not believed: nothing was retired for them. */
  unbelieved: number;
  /** Why not, for people; null: nothing is doubted. */
  doubt: string | null;
  /** Images that the service did not answer for; the next run checks them. */
  unanswered: number;
  /** The first thousand. */
  retiredEntries: EntryId[];
  /** Entries without a usable image that stay for now; the first thousand. */
  keptEntries: { entryId: EntryId; why: StayReason }[];
  deletedEntries: number;
  follows: FollowOutcome[];
  /** One sentence for people. */
  summary: string;
}

export interface FollowOutcome {
  followId: FollowId;
  name: string;
  backend: BackendName;
  outcome: 'current' | 'flipped' | 'no-match' | 'failed';
  /** The newest that matches. */
  imageId: ImageId | null;
  /** Entries of former content that were retired. */
  retired: EntryId[];
  /** One sentence for people. */
  summary: string;
}

/** Input of `WarmImageCache`: populates before the first create. Any Temporal client may start it. */
export interface WarmInput extends Caller {
  imageIds: string[];
  /** Default: the default backend. */
  backends?: string[];
  /** In place of `backends`: all that are configured. */
  allBackends?: boolean;
  /** Keeps what was warmed from being evicted. */
  pin?: boolean;
  by?: string;
}

export interface WarmOutcome {
  imageId: string;
  backend: string;
  outcome: 'populated' | 'ready' | 'not-cached' | 'failed';
  entryId: EntryId | null;
  bytesDownloaded: number;
  seconds: number;
  /** One sentence for people. */
  summary: string;
}

export interface WarmResult {
  warmed: WarmOutcome[];
  summary: string;
}

/** Query `progress` of `WarmImageCache`. */
export interface WarmProgress {
  total: number;
  done: WarmOutcome[];
  /** `flightWorkflowId`: the population that is waited for, once it is known. */
  running: { imageId: string; backend: string; flightWorkflowId: string | null }[];
}

export interface FollowToCheck {
  followId: FollowId;
  name: string;
  backend: BackendName;
}
