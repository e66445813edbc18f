import type { EntryLeft, ExpensiveMiss, OutcomeBucket } from '../db/report/report';
import type { ReportBucket, ReportEntryLeft, ReportMiss, ReportTotals } from './report';

/** @returns sums of what is in `rows`. */
export function toTotals(rows: readonly OutcomeBucket[]): ReportTotals {
  const totals = { hit: 0, miss: 0, joined: 0, bypassed: 0, refused: 0, failed: 0 };
  const sums = { bytesDownloaded: 0, savedBytes: 0, savedSeconds: 0 };
  for (const row of rows) {
    totals[row.outcome] += row.creates;
    sums.bytesDownloaded += row.bytesDownloaded;
    sums.savedBytes += row.savedBytes;
    sums.savedSeconds += row.savedSeconds;
  }
  const answered = totals.hit + totals.miss + totals.joined + totals.bypassed;
  return { ...totals, ...sums, hitRate: answered === 0 ? null : totals.hit / answered };
}

/** @returns a bucket for every step of the period, those in which nothing happened included. */
export function toBuckets(
  rows: readonly OutcomeBucket[],
  { fromMs, toMs, bucketMs }: { fromMs: number; toMs: number; bucketMs: number },
): ReportBucket[] {
  const [first, last] = [Math.floor(fromMs / bucketMs), Math.ceil(toMs / bucketMs) - 1];
  return Array.from({ length: last - first + 1 }, (_, index) => ({
    at: new Date((first + index) * bucketMs).toISOString(),
    ...toTotals(rows.filter(({ bucket }) => bucket === first + index)),
  }));
}

export function toMiss({ at, ...miss }: ExpensiveMiss): ReportMiss {
  return { at: at.toISOString(), ...miss };
}

export function toEntryLeft({ at, shortKey: _shortKey, ...left }: EntryLeft): ReportEntryLeft {
  return { at: at.toISOString(), ...left };
}
