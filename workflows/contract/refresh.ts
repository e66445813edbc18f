import type { BackendName, EntryId, FollowId, ImageId, ProjectId } from './ids';

/** Which images a follow means; every field that is set must match. */
export interface FollowSpec {
  /** What a create names, `follow:<name>`; default: the image's name. */
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

/** Input of `RefreshImageCache`; every field has a default. */
export interface RefreshInput {
  /** Asks only about these; default: every image behind an entry, and every follow. */
  imageIds?: string[];
  /** Only this follow, by name. */
  follow?: string;
  backend?: string;
  /** Where a run that was continued as new goes on. */
  cursor?: { afterImageId: ImageId | null; imagesDone: boolean; result: RefreshResult };
}

export interface RefreshResult {
  imagesAsked: number;
  usable: number;
  deactivated: number;
  gone: number;
  /** Images that the service did not answer for; the next run asks again. */
  unanswered: number;
  retiredEntries: EntryId[];
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
  imageId: ImageId | null;
  /** Entries of former content that were retired. */
  retired: EntryId[];
  /** One sentence for people. */
  summary: string;
}

/** Input of `WarmImageCache`: populates before anybody asks. */
export interface WarmInput {
  imageIds: string[];
  /** Default: the default backend. */
  backends?: string[];
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
  running: { imageId: string; backend: string; flightWorkflowId: string }[];
}
