/** One line of the bench; fields that do not apply are left out. */
export interface Measure {
  measure: 'hit' | 'api' | 'api-eager' | 'clones' | 'bulk' | 'herd' | 'miss' | 'resume';
  backend: string;
  inFlight?: number;
  callers?: number;
  imageBytes: number;
  n: number;
  p50Ms: number;
  p95Ms?: number;
  perSecond?: number;
  /** Until a POST was answered. */
  postP50Ms?: number;
  floor: { what: string; p50Ms: number; perSecond?: number };
  ratio: number;
  /** Of the floor. */
  bareClonesPerSecond?: number;
  /** Of all `n` together. */
  mapChanges?: number;
  /** A herd beside one cold miss and as many bare clones. */
  ofMissAndClones?: number;
  /** SHA-512 of the image's bytes, bare. No floor holds it, and no download that is verified does without. */
  hashMs?: number;
  temporalActions?: number;
  historyEvents?: number;
  processes?: number;
  sqlStatements?: number;
  downloads?: number;
  populations?: number;
  /** Peaks. */
  workerRssBytes?: number;
  scratchBytes?: number;
  /** Bytes that the image service sent, as a share of the image. */
  servedShare?: number;
}

/** @returns the value below which `share` of the sorted sample lies (nearest rank). */
export function percentile(sample: readonly number[], share: number): number {
  const sorted = [...sample].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))] ?? Number.NaN;
}

export const rounded = (value: number, digits = 1): number => Number(value.toFixed(digits));

/** Runs `work` `count` times with at most `inFlight` at once. @returns the milliseconds of each, and of all together. */
export async function timed(
  count: number,
  inFlight: number,
  work: (index: number) => Promise<void>,
): Promise<{ eachMs: number[]; totalMs: number }> {
  const eachMs: number[] = [];
  let next = 0;
  const startedAtMs = performance.now();
  const lane = async (): Promise<void> => {
    while (next < count) {
      const index = next;
      next += 1;
      const fromMs = performance.now();
      await work(index);
      eachMs.push(performance.now() - fromMs);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, lane));
  return { eachMs, totalMs: performance.now() - startedAtMs };
}
