import { GiB, MiB } from '../../workflows/contract/bytes';
import { type BackendRow, type EntryRow } from '../../db/schema';

/**
 * After so long without a use, what an entry was used for counts half. With longer ones, what was used in a burst
 * outstays what is used now: see the bench `policies`.
 */
export const USE_HALF_LIFE_MS = 24 * 3_600_000;
/** The least that R is taken for: a tiny image-volume is not kept for ever because it gives back next to nothing. */
const LEAST_RECLAIMABLE_BYTES = 32 * MiB;
/** The least that C is taken for: no population, however small, is faster. */
const LEAST_COST_SECONDS = 1;

/** Inputs of a score. */
export type ScoredEntry = Pick<
  EntryRow,
  | 'uses'
  | 'usesScored'
  | 'useScore'
  | 'scoredAt'
  | 'readyAt'
  | 'priorityBase'
  | 'costSeconds'
  | 'reclaimableBytes'
  | 'realBytes'
>;
export type ScoringBackend = Pick<BackendRow, 'evictionClock' | 'maxBytes' | 'maxCount'>;

export interface Score {
  /** F at `now`. */
  useScore: number;
  /** L when it was used last. */
  priorityBase: number;
  /** H. */
  priority: number;
}

/**
 * GreedyDual-Size-Frequency: `H = L + F * C / R`. L: the backend's eviction clock when a use was seen last; F: uses
 * that decay with time and outlive eviction; C: seconds of the measured population; R: GiB that a deletion would give
 * back, at least those of one place of `maxCount`. The lowest H goes first and becomes the next L, so what nobody uses
 * any more grows old whatever it was worth.
 * Source: Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching Policy", HP Labs,
 * 1998.
 */
export function scoreOf(entry: ScoredEntry, { backend, now }: { backend: ScoringBackend; now: Date }): Score {
  const newUses = Math.max(entry.uses - entry.usesScored, isScoredFirst(entry) ? 1 : 0);
  const useScore = entry.useScore * decaySince(entry.scoredAt, now) + newUses;
  const priorityBase = newUses > 0 ? backend.evictionClock : entry.priorityBase;
  return { useScore, priorityBase, priority: priorityBase + useScore * worthOf(entry, backend) };
}

/** An entry that was populated before anybody asked, by warming or a follow, begins as if it had been used once. */
function isScoredFirst({ scoredAt, readyAt }: ScoredEntry): boolean {
  return scoredAt === null || (readyAt !== null && scoredAt < readyAt);
}

/**
 * Seconds that a GiB of its place spares each time it is used. Where the count is the tighter limit, small ones take as
 * much of it as large ones.
 */
function worthOf({ costSeconds, reclaimableBytes, realBytes }: ScoredEntry, backend: ScoringBackend): number {
  const placeBytes = backend.maxBytes / Math.max(1, backend.maxCount);
  const bytes = Math.max(reclaimableBytes ?? realBytes, placeBytes, LEAST_RECLAIMABLE_BYTES);
  return Math.max(costSeconds ?? 0, LEAST_COST_SECONDS) / (bytes / GiB);
}

function decaySince(scoredAt: Date | null, now: Date): number {
  if (scoredAt === null) return 1;
  return 2 ** (-Math.max(0, now.getTime() - scoredAt.getTime()) / USE_HALF_LIFE_MS);
}
