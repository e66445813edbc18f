import type { OutcomeBucket } from '../db/report/report';
import type { EntryId, ImageId, VolumeId } from '../workflows/contract/ids';
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
  reasons: { outcome: string; reason: string; creates: number }[];
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

/** Milliseconds of one stage of creates with one outcome. */
export interface ReportStage {
  outcome: string;
  stage: string;
  creates: number;
  p50Ms: number;
  p95Ms: number;
  maxMs: number;
}

export interface ReportMiss {
  at: string;
  volumeId: VolumeId | null;
  backend: string;
  imageId: ImageId | null;
  totalMs: number;
  downloadMs: number | null;
  convertMs: number | null;
  bytesDownloaded: number;
  workflowId: string;
}

export interface ReportImage {
  imageId: ImageId;
  creates: number;
  hits: number;
  bytesDownloaded: number;
  savedBytes: number;
  savedSeconds: number;
}

export interface ReportEntryLeft {
  at: string;
  entryId: EntryId;
  backend: string;
  /** Images that it served. */
  imageIds: ImageId[];
  /** `retired`: clones hold it still. */
  kind: 'retired' | 'deleted';
  reason: string | null;
  detail: string | null;
  bytes: number | null;
  uses: number | null;
  costSeconds: number | null;
  /** The workflow that it made room for. */
  workflowId: string | null;
  forImageIds: ImageId[];
}

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
    totals[row.outcome] += row.creates;
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
