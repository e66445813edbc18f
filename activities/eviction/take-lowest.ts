import type { Judged } from './judge';

/** What is to be given back, and what an entry gives of it. */
export interface Shortage {
  bytes: number;
  count: number;
  /** Bytes that this entry's going gives back. */
  measure: (judged: Judged) => number;
}

export interface Lowest {
  taken: Judged[];
  isEnough: boolean;
  /** What is still short. */
  left: Shortage;
}

/** @returns the first of the ranked entries that together give back what is short; all of them where that is not enough. */
export function takeLowest(ranked: Judged[], { bytes, count, measure }: Shortage): Lowest {
  const left = { bytes, count, measure };
  const taken: Judged[] = [];
  for (const judged of ranked) {
    if (left.bytes <= 0 && left.count <= 0) break;
    taken.push(judged);
    left.bytes -= measure(judged);
    left.count -= 1;
  }
  return { taken, isEnough: left.bytes <= 0 && left.count <= 0, left };
}

/** What the backend gets back from a deletion: what it has said, else what was measured when it was written. */
export function reclaimableOf({ candidate: { entry } }: Judged): number {
  return entry.reclaimableBytes ?? entry.realBytes;
}
