import type { evictionPolicies } from './cache-limits';
import type { BackendName, EntryId, ImageId, VolumeId } from './ids';

/*
 * `EvictImageCache` (`evict/<backend>`): the inputs of its signals and the answer of its query `status`. Any Temporal
 * client may send them, as one JSON object each; a malformed one is refused in a result of its own, never by a stuck
 * workflow task.
 */

/** Entries by name; exactly one field. `cacheKey`: the short one, or a beginning that no other key has. */
export type PinTarget = { entryId: string } | { imageId: string } | { cacheKey: string };

/** Which entries a request means; exactly one field. `bytes` and `count`: so much is to be given back, by rank. */
export type EvictionTarget = PinTarget | { bytes: number } | { count: number };

/** Signal `evict`. */
export type EvictSignal = EvictionTarget & {
  /** The caller's, under which `status` answers; default: made here. */
  requestId?: string;
  /** Why, for the history. */
  reason?: string;
  /** The caller, for the record. */
  by?: string;
  /** Plans and changes nothing. */
  dryRun?: boolean;
  /**
   * Makes the live clones of the named entries independent of them, so that these can be deleted now. Not with `bytes`
   * or `count`.
   */
  flatten?: boolean;
};

/** Signal `pin`, `unpin`: keeps ready entries from being victims. */
export type PinSignal = PinTarget & {
  requestId?: string;
  by?: string;
};

/** Signal `forgetRefusal`: the next create of bytes that were refused inspects them again. */
export interface ForgetRefusalSignal {
  requestId?: string;
  by?: string;
  /** The short one, or its beginning. */
  cacheKey: string;
}

/** Signal `setLimits`: limits left out stay; from then on the configuration leaves those that were set alone. */
export interface SetLimitsSignal {
  requestId?: string;
  by?: string;
  limits: Partial<CacheLimitValues>;
}

/** Signals `sweep`, `pause`, `resume`. */
export interface PlainSignal {
  requestId?: string;
  reason?: string;
  /** Only `sweep`. */
  dryRun?: boolean;
}

/** Signal `configure`, which a worker sends when it starts. Answered only when it is malformed. */
export interface ConfigureSignal {
  /** Milliseconds between periodic sweeps; null: only on request. */
  sweepIntervalMs: number | null;
}

export const evictorSignalNames = [
  'evict',
  'sweep',
  'pin',
  'unpin',
  'setLimits',
  'forgetRefusal',
  'pause',
  'resume',
  'configure',
] as const;
export type EvictorSignalName = (typeof evictorSignalNames)[number];

/** Limits as an operator sets them. */
export interface CacheLimitValues {
  enabled: boolean;
  maxBytes: number;
  maxCount: number;
  /** Shares of the backend's real space, 0 to 1; low at most high. */
  freeLowWater: number;
  freeHighWater: number;
  /** Milliseconds; null: never. */
  idleAgeMs: number | null;
  keepSuperseded: number;
  policy: (typeof evictionPolicies)[number];
}

/**
 * Why an entry goes, in the order in which they go. `pressure`: by score. `pinning`: a parent that clones hold, retired
 * because nothing else was left.
 */
export const evictionClasses = [
  'requested',
  'image-gone',
  'quarantined',
  'superseded',
  'idle',
  'pressure',
  'pinning',
] as const;
export type EvictionClass = (typeof evictionClasses)[number];

/** Why an entry stays, and that in words for people. */
export const stayReasons = {
  populating: 'it is being populated',
  deleting: 'it is being deleted',
  leased: 'a create has a lease on it',
  pinned: 'an operator has pinned it',
  awaited: 'creates that waited for it are about to clone it',
  'has-clones': 'live clones need it',
  'within-limits': 'the cache is within its limits',
} as const;
export type StayReason = keyof typeof stayReasons;

/** The facts that decide whether an entry may go. */
export interface StayFacts {
  state: 'populating' | 'ready' | 'retired' | 'deleting' | 'gone';
  pinned: boolean;
  clones: number;
  /** A create holds a lease on it. */
  leased: boolean;
  /** Creates that waited for its population have not acquired it yet. */
  awaited: boolean;
}

/** @returns why an entry may not go, whatever the request; undefined: it may. */
export function findStayReason({ state, pinned, clones, leased, awaited }: StayFacts): StayReason | undefined {
  if (state === 'populating' || state === 'deleting') return state;
  if (state === 'gone') return undefined;
  if (leased) return 'leased';
  if (state === 'retired') return clones > 0 ? 'has-clones' : undefined;
  if (pinned) return 'pinned';
  return awaited ? 'awaited' : undefined;
}

/** @returns why an entry stays that was not chosen. */
export function stayReasonOf(facts: StayFacts): StayReason {
  return findStayReason(facts) ?? (facts.clones > 0 ? 'has-clones' : 'within-limits');
}

/** One entry of a plan, in the order of the plan. */
export interface PlannedEviction {
  entryId: EntryId;
  shortKey: string;
  imageVolume: string;
  /** The first twenty. */
  imageIds: ImageId[];
  class: EvictionClass;
  /** One sentence. */
  why: string;
  /** H of GreedyDual-Size-Frequency, or the time of the last use in seconds since 1970 for `lru`. */
  score: number;
  realBytes: number;
  reclaimableBytes: number;
  clones: number;
}

export interface StayingEntry {
  entryId: EntryId;
  shortKey: string;
  why: StayReason;
}

export interface EvictionPlan {
  evict: PlannedEviction[];
  /** The first hundred. */
  stay: StayingEntry[];
  /** Bytes that the plan gives back to the backend. */
  reclaimableBytes: number;
}

/** Under a request id in `status`. */
export interface EvictionResult {
  requestId: string;
  signal: EvictorSignalName | 'unknown';
  /** RFC 3339. */
  at: string;
  outcome: 'done' | 'nothing-to-do' | 'planned' | 'refused' | 'failed';
  /** One sentence for people. */
  summary: string;
  evicted?: { entryId: EntryId; class: EvictionClass; reclaimedBytes: number }[];
  /** Retired while clones hold it: it goes with the last of them. */
  held?: { entryId: EntryId; clones: number }[];
  flattened?: VolumeId[];
  plan?: EvictionPlan;
  /** Its lists have fewer lines than there were: there were very many, or too much was answered at once or since. */
  shortened?: true;
}

/** Query `status`. */
export interface EvictionStatus {
  backend: BackendName;
  paused: boolean;
  doing: 'waiting' | 'sweeping' | 'evicting' | 'flattening' | 'paused';
  /** Milliseconds between periodic sweeps; null: only on request. */
  sweepIntervalMs: number | null;
  /** RFC 3339; null while none has run, or when there is no periodic sweep. */
  lastSweepAt: string | null;
  nextSweepAt: string | null;
  sweeps: number;
  /** The last 50, the newest last. */
  results: EvictionResult[];
  /** Signals that have no answer yet. */
  waiting: number;
  /** Their request ids, the first hundred. */
  waitingFor: string[];
}

/** Input of `EvictImageCache`. `state` is what continue-as-new carries. */
export interface EvictImageCacheInput {
  /** Default: as in the workflow's id `evict/<backend>`. */
  backend?: BackendName;
  /** Milliseconds between periodic sweeps; null: only on request. Default: as in the worker's configuration. */
  sweepIntervalMs?: number | null;
  /** Events of history after which the run goes on as a new one. Default: 4000. */
  maxHistoryEvents?: number;
  state?: EvictorState;
}

export interface EvictorState {
  paused: boolean;
  lastSweepAt: string | null;
  sweeps: number;
  results: EvictionResult[];
  /** Signals that were not answered yet. */
  queue: { signal: EvictorSignalName; requestId: string; given: unknown }[];
}

/** The input of `evictEntries`: signals that have passed validation, merged into one. */
export interface EvictionOrder {
  requestId: string;
  signal: 'evict' | 'sweep';
  /**
   * Absent: a sweep, which enforces limits, watermarks, idle age and generations, and deletes what is retired and free.
   */
  target?: EvictionTarget;
  reason?: string;
  by?: string;
  dryRun: boolean;
}
