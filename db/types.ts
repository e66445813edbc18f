import type { InferSelectModel } from 'drizzle-orm';
import type {
  backends,
  cacheEntries,
  decisions,
  entryEvents,
  entryImages,
  follows,
  populations,
  scratchFiles,
  volumes,
} from './schema';

export type BackendRow = InferSelectModel<typeof backends>;
export type EntryRow = InferSelectModel<typeof cacheEntries>;
export type EntryImageRow = InferSelectModel<typeof entryImages>;
export type PopulationRow = InferSelectModel<typeof populations>;
export type VolumeRow = InferSelectModel<typeof volumes>;
export type ScratchFileRow = InferSelectModel<typeof scratchFiles>;
export type EntryEventRow = InferSelectModel<typeof entryEvents>;
export type FollowRow = InferSelectModel<typeof follows>;
export type DecisionRow = InferSelectModel<typeof decisions>;

/** The limits of one backend's cache. */
export interface CacheLimits {
  enabled: boolean;
  maxBytes: number;
  maxCount: number;
  /** Shares of the backend's real space, 0 to 1. */
  freeLowWater: number;
  freeHighWater: number;
  /** Null: entries never expire by age. */
  idleAgeMs: number | null;
  keepSuperseded: number;
  policy: BackendRow['policy'];
  /** Clones a parent may have; null: no limit. */
  cloneLimit: number | null;
}
