import { sql, type SQL } from 'drizzle-orm';
import type { BackendName, EntryId, ImageId, VolumeId } from '../../workflows/contract/ids';
import type { Database } from '../client';
import type { DecisionOutcome } from '../schema';
import { is, readRows, type RowOf } from '../statement';

/* What `ivc report` reads: a period of decisions and of entry events, by their indexes on time. */

/** Decisions whose stages are looked at: the newest of the period. */
const MAX_TIMED_DECISIONS = 100_000;
const MAX_REASONS = 20;
const MAX_ROWS = 20;
const MAX_IMAGES_OF_ENTRY = 3;

export interface ReportPeriod {
  from: Date;
  to: Date;
  backend?: BackendName;
}

const outcomeBucketColumns = {
  /** Number of the bucket since 1970, of `bucketMs` each. */
  bucket: is.number,
  outcome: is.text<DecisionOutcome>,
  creates: is.number,
  bytesDownloaded: is.number,
  savedBytes: is.number,
  savedSeconds: is.number,
};
export type OutcomeBucket = RowOf<typeof outcomeBucketColumns>;

/** @returns decisions by time and outcome, the oldest first. */
export function readOutcomes(
  database: Database,
  { bucketMs, ...period }: ReportPeriod & { bucketMs: number },
): Promise<OutcomeBucket[]> {
  return readRows(
    database,
    outcomeBucketColumns,
    sql`select floor(extract(epoch from at) * 1000 / ${bucketMs}::float8)::bigint as bucket, outcome, count(*) as creates,
        sum(bytes_downloaded)::bigint as "bytesDownloaded", sum(saved_bytes)::bigint as "savedBytes", sum(saved_seconds) as "savedSeconds"
      from decisions where ${within(period)} group by 1, 2 order by 1, 2`,
  );
}

const reasonCountColumns = {
  outcome: is.text<DecisionOutcome>,
  /** The failure's type, or the sentence where there is none. */
  reason: is.text,
  creates: is.number,
};
export type ReasonCount = RowOf<typeof reasonCountColumns>;

/** @returns why creates were bypassed, refused or failed, the most frequent first. */
export function readReasons(database: Database, period: ReportPeriod): Promise<ReasonCount[]> {
  return readRows(
    database,
    reasonCountColumns,
    sql`select outcome, coalesce(error_type, reason) as reason, count(*) as creates from decisions
      where ${within(period)} and outcome in ('bypassed', 'refused', 'failed') group by 1, 2 order by 3 desc, 2 limit ${MAX_REASONS}`,
  );
}

const stageTimesColumns = {
  outcome: is.text<DecisionOutcome>,
  stage: is.text,
  creates: is.number,
  p50Ms: is.number,
  p95Ms: is.number,
  maxMs: is.number,
};
export type StageTimes = RowOf<typeof stageTimesColumns>;

export function readStages(database: Database, period: ReportPeriod): Promise<StageTimes[]> {
  return readRows(
    database,
    stageTimesColumns,
    sql`select outcome, stage, count(*) as creates, percentile_cont(0.5) within group (order by ms) as "p50Ms",
        percentile_cont(0.95) within group (order by ms) as "p95Ms", max(ms) as "maxMs"
      from (
        select d.outcome, t.key as stage, t.value::float8 as ms
        from (
          select outcome, timings_ms from decisions where ${within(period)} and outcome in ('hit', 'joined', 'miss', 'bypassed')
          order by at desc limit ${MAX_TIMED_DECISIONS}
        ) d cross join lateral jsonb_each_text(d.timings_ms) t
      ) s group by 1, 2 order by 1, 2`,
  );
}

export interface ExpensiveMiss {
  at: Date;
  volumeId: VolumeId | null;
  backend: BackendName;
  imageId: ImageId | null;
  totalMs: number;
  downloadMs: number | null;
  convertMs: number | null;
  bytesDownloaded: number;
  workflowId: string;
}

/** @returns the misses that took longest. */
export async function readExpensiveMisses(database: Database, period: ReportPeriod): Promise<ExpensiveMiss[]> {
  const rows = await readRows(
    database,
    {
      at: is.text,
      volumeId: is.nullable(is.text<VolumeId>),
      backend: is.text<BackendName>,
      imageId: is.nullable(is.text<ImageId>),
      totalMs: is.number,
      downloadMs: is.nullable(is.number),
      convertMs: is.nullable(is.number),
      bytesDownloaded: is.number,
      workflowId: is.text,
    },
    sql`select at, volume_id as "volumeId", backend, image_id as "imageId", coalesce((timings_ms ->> 'total')::float8, 0) as "totalMs",
        (timings_ms ->> 'download')::float8 as "downloadMs", (timings_ms ->> 'convert')::float8 as "convertMs",
        bytes_downloaded as "bytesDownloaded", workflow_id as "workflowId"
      from decisions where ${within(period)} and outcome = 'miss' order by 5 desc, id limit ${MAX_ROWS}`,
  );
  return rows.map((row) => ({ ...row, at: new Date(row.at) }));
}

const imageUseColumns = {
  imageId: is.text<ImageId>,
  creates: is.number,
  hits: is.number,
  bytesDownloaded: is.number,
  savedBytes: is.number,
  savedSeconds: is.number,
};
export type ImageUse = RowOf<typeof imageUseColumns>;

/** @returns the images that were asked for most. */
export function readImageUse(database: Database, period: ReportPeriod): Promise<ImageUse[]> {
  return readRows(
    database,
    imageUseColumns,
    sql`select image_id as "imageId", count(*) as creates, count(*) filter (where outcome = 'hit') as hits,
        sum(bytes_downloaded)::bigint as "bytesDownloaded", sum(saved_bytes)::bigint as "savedBytes", sum(saved_seconds) as "savedSeconds"
      from decisions where ${within(period)} and image_id is not null and outcome <> 'refused'
      group by 1 order by 2 desc, 1 limit ${MAX_ROWS}`,
  );
}

export interface EntryLeft {
  at: Date;
  entryId: EntryId;
  backend: BackendName;
  shortKey: string;
  /** `retired`: clones hold it still. */
  kind: 'retired' | 'deleted';
  reason: string | null;
  detail: string | null;
  bytes: number | null;
  /** Images that it served, the first few. */
  imageIds: ImageId[];
  uses: number | null;
  costSeconds: number | null;
  /** Whom it was done for. */
  workflowId: string | null;
  /** Images of what it made room for. */
  forImageIds: ImageId[];
}

/** @returns what left the cache and for whom, the newest first; each entry once, with the last that happened to it. */
export async function readEntriesLeft(database: Database, period: ReportPeriod): Promise<EntryLeft[]> {
  const rows = await readRows(
    database,
    {
      at: is.text,
      entryId: is.text<EntryId>,
      backend: is.text<BackendName>,
      shortKey: is.text,
      kind: is.text<EntryLeft['kind']>,
      reason: is.nullable(is.text),
      detail: is.nullable(is.text),
      bytes: is.nullable(is.number),
      imageIds: is.array<ImageId>,
      uses: is.nullable(is.number),
      costSeconds: is.nullable(is.number),
      workflowId: is.nullable(is.text),
      forImageIds: is.array<ImageId>,
    },
    sql`with newest as (
        select * from entry_events where ${within(period)} and kind in ('retired', 'deleted') order by at desc, id desc limit ${4 * MAX_ROWS}
      ), last as (select distinct on (entry_id) * from newest order by entry_id, id desc)
      select l.at, l.entry_id as "entryId", l.backend, l.short_key as "shortKey", l.kind, coalesce(l.reason, e.reason) as reason, l.detail, l.bytes,
        e.uses, e.cost_seconds as "costSeconds", ${imagesOf(sql`i.entry_id = l.entry_id`)} as "imageIds", l.workflow_id as "workflowId",
        ${imagesOf(sql`i.entry_id in (select o.id from cache_entries o where o.backend = l.backend and l.workflow_id like '%populate/%' and o.short_key = split_part(l.workflow_id, '/', 3))`)} as "forImageIds"
      from last l left join cache_entries e on e.id = l.entry_id order by l.at desc, l.id desc limit ${MAX_ROWS}`,
  );
  return rows.map((row) => ({ ...row, at: new Date(row.at) }));
}

function imagesOf(condition: SQL): SQL {
  return sql`to_jsonb(array(select distinct i.image_id from entry_images i where ${condition} order by 1 limit ${MAX_IMAGES_OF_ENTRY}))`;
}

function within({ from, to, backend }: ReportPeriod): SQL {
  const ofBackend = backend === undefined ? sql`true` : sql`backend = ${backend}`;
  return sql`at >= ${from.toISOString()}::timestamptz and at < ${to.toISOString()}::timestamptz and ${ofBackend}`;
}
