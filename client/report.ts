import type { EntryLeft, ExpensiveMiss, ImageUse, OutcomeBucket, ReasonCount, StageTimes } from '../db/report/report';
import { isOfCache } from '../workflows/contract/volume';
import { toDecisionSummary } from './inventory-rows';
import type { DecisionSummary } from './records';

/*
 * The report of a period, as programs see it: field names here are those of `--json` and stay. Times are RFC 3339,
 * sizes bytes.
 */

export interface ReportFilter {
  /** Milliseconds back from now. */
  withinMs: number;
  backend?: string;
}

export interface Report {
  from: string;
  to: string;
  /** Null: all. */
  backend: string | null;
  totals: ReportTotals;
  /** Equally long, the oldest first, without gaps. */
  buckets: ReportBucket[];
  bucketSeconds: number;
  /** Why creates were bypassed, refused or failed, the most frequent first. */
  reasons: ReasonCount[];
  stages: ReportStage[];
  expensiveMisses: ReportMiss[];
  images: ReportImage[];
  /** Entries that left the cache, the newest first. */
  left: ReportEntryLeft[];
}

export type ReportTotals = DecisionSummary;

export interface ReportBucket extends ReportTotals {
  at: string;
}

/** A row of the database with its time as text: the fields of these rows are those of `--json` too. */
type Dated<Row extends { at: Date }> = Omit<Row, 'at'> & { at: string };

/** Milliseconds of one stage of creates with one outcome. */
export type ReportStage = StageTimes;
export type ReportMiss = Dated<ExpensiveMiss>;
export type ReportImage = ImageUse;
export type ReportEntryLeft = Dated<Omit<EntryLeft, 'shortKey'>>;

/** Buckets that a report has about. */
const WANTED_BUCKETS = 48;
const bucketSizesSeconds = [1, 5, 15, 60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 604_800];

/** @returns milliseconds of a bucket that people would choose too. */
export function chooseBucketMs(periodMs: number): number {
  const wanted = periodMs / 1000 / WANTED_BUCKETS;
  return 1000 * (bucketSizesSeconds.find((seconds) => seconds >= wanted) ?? 604_800);
}

/** @returns sums of what is in `rows`. */
export function toTotals(rows: readonly OutcomeBucket[]): ReportTotals {
  const totals = { hit: 0, miss: 0, joined: 0, bypassed: 0, refused: 0, failed: 0 };
  const sums = { bytesDownloaded: 0, savedBytes: 0, savedSeconds: 0 };
  for (const row of rows) {
    if (isOfCache(row.outcome)) totals[row.outcome] += row.creates;
    sums.bytesDownloaded += row.bytesDownloaded;
    sums.savedBytes += row.savedBytes;
    sums.savedSeconds += row.savedSeconds;
  }
  return toDecisionSummary({ ...totals, ...sums });
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
