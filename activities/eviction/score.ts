import { GiB, MiB } from '../../workflows/contract/bytes';
import type { EntryRow } from '../../db/types';

/** After so long without a use, what an entry was used for counts half. */
export const USE_HALF_LIFE_MS = 7 * 24 * 3_600_000;
/** The least that R is taken for: a tiny image-volume is not kept for ever because it gives back next to nothing. */
export const LEAST_RECLAIMABLE_BYTES = 32 * MiB;
/** The least that C is taken for: what no population, however small, is faster than. */
export const LEAST_COST_SECONDS = 1;

/** What a score is made of. */
export type ScoredFields = Pick<
  EntryRow,
  | 'uses'
  | 'usesScored'
  | 'useScore'
  | 'scoredAt'
  | 'priorityBase'
  | 'costSeconds'
  | 'reclaimableBytes'
  | 'realBytes'
  | 'createdAt'
>;

export interface Score {
  /** F at `now`. */
  useScore: number;
  /** L when it was used last. */
  priorityBase: number;
  /** H. */
  priority: number;
}

/**
 * GreedyDual-Size-Frequency: `H = L + F * C / R`. L: the backend's eviction clock when a use was seen last; F: uses that decay with time and outlive
 * eviction; C: seconds of the measured population; R: GiB that a deletion would give back. The lowest H goes first and becomes the next L, so what
 * nobody uses any more grows old whatever it was worth. Source: Cherkasova, "Improving WWW Proxies Performance with GreedyDual-Size-Frequency", 1998.
 */
export function scoreOf(entry: ScoredFields, { clock, now }: { clock: number; now: Date }): Score {
  const newUses = entry.uses - entry.usesScored;
  const useScore = entry.useScore * decaySince(entry.scoredAt, now) + newUses;
  const priorityBase = newUses > 0 ? clock : entry.priorityBase;
  return { useScore, priorityBase, priority: priorityBase + useScore * worthOf(entry) };
}

/** Seconds that a GiB of its place spares each time it is used. */
function worthOf({ costSeconds, reclaimableBytes, realBytes }: ScoredFields): number {
  const bytes = Math.max(reclaimableBytes ?? realBytes, LEAST_RECLAIMABLE_BYTES);
  return Math.max(costSeconds ?? 0, LEAST_COST_SECONDS) / (bytes / GiB);
}

function decaySince(scoredAt: Date | null, now: Date): number {
  if (scoredAt === null) return 1;
  return 2 ** (-Math.max(0, now.getTime() - scoredAt.getTime()) / USE_HALF_LIFE_MS);
}
