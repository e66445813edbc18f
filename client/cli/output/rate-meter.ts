import type { Shown } from './format-progress';

/** @returns a function that adds the rate to reports that count bytes and leave it out: since the stage was first seen. */
export function createRateMeter(now: () => number = Date.now): (report: Shown) => Shown {
  let first: { stage: string; bytesDone: number; atMs: number } | undefined;
  return (report) => {
    const { work } = report;
    if (work?.bytesDone === undefined) return report;
    if (first?.stage !== work.stage || work.bytesDone < first.bytesDone)
      first = { stage: work.stage, bytesDone: work.bytesDone, atMs: now() };
    const elapsedMs = now() - first.atMs;
    if (work.bytesPerSecond !== undefined || elapsedMs === 0) return report;
    return { ...report, work: { ...work, bytesPerSecond: ((work.bytesDone - first.bytesDone) / elapsedMs) * 1000 } };
  };
}
