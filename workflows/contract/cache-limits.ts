/*
 * The values that limits of a cache may have: one rule for the configuration, the command line and signals.
 */

/** Whole numbers, both ends included. */
export const limitBounds = {
  maxBytes: { least: 1, most: Number.MAX_SAFE_INTEGER },
  maxCount: { least: 1, most: 1_000_000 },
  /** Null beside it: never. */
  idleAgeMs: { least: 1, most: Number.MAX_SAFE_INTEGER },
  keepSuperseded: { least: 0, most: 100 },
} as const;

export const evictionPolicies = ['gdsf', 'lru'] as const;

/** Milliseconds between an evictor's periodic sweeps, at least. */
export const LEAST_SWEEP_INTERVAL_MS = 1000;

/** The rule between the two watermarks, shares from 0 to 1. Equal ones are one mark that is kept. */
export function areWatermarksInOrder({ freeLowWater, freeHighWater }: Watermarks): boolean {
  return freeLowWater <= freeHighWater;
}

export interface Watermarks {
  freeLowWater: number;
  freeHighWater: number;
}
