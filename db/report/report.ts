import { sql, type SQL } from 'drizzle-orm';
import type { BackendName, EntryId, ImageId, VolumeId } from '../../workflows/contract/ids';
import type { Database } from '../client';
import type { DecisionOutcome } from '../schema';
import { runStatement, type RawRow } from '../statement';

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

export interface OutcomeBucket {
  /** Number of the bucket since 1970, of `bucketMs` each. */
  bucket: number;
  outcome: DecisionOutcome;
  creates: number;
  bytesDownloaded: number;
  savedBytes: number;
  savedSeconds: number;
}

/** @returns decisions by time and outcome, the oldest first. */
export function readOutcomes(
  database: Database,
  { bucketMs, ...period }: ReportPeriod & { bucketMs: number },
): Promise<OutcomeBucket[]> {
  return runStatement<OutcomeBucket & Record<string, unknown>>(
    database,
    sql`select floor(extract(epoch from at) * 1000 / ${bucketMs}::float8)::bigint as bucket, outcome, count(*) as creates,
        sum(bytes_downloaded)::bigint as "bytesDownloaded", sum(saved_bytes)::bigint as "savedBytes", sum(saved_seconds) as "savedSeconds"
      from decisions where ${within(period)} group by 1, 2 order by 1, 2`,
  );
}

export interface ReasonCount {
  outcome: DecisionOutcome;
  /** The failure's type, or the sentence where there is none. */
  reason: string;
  creates: number;
}

/** @returns why creates were bypassed, refused or failed, the most frequent first. */
export function readReasons(database: Database, period: ReportPeriod): Promise<ReasonCount[]> {
  return runStatement<ReasonCount & Record<string, unknown>>(
    database,
    sql`select outcome, coalesce(error_type, reason) as reason, count(*) as creates from decisions
      where ${within(period)} and outcome in ('bypassed', 'refused', 'failed') group by 1, 2 order by 3 desc, 2 limit ${MAX_REASONS}`,
  );
}

export interface StageTimes {
  outcome: DecisionOutcome;
  stage: string;
  creates: number;
  p50Ms: number;
  p95Ms: number;
  maxMs: number;
}

export function readStages(database: Database, period: ReportPeriod): Promise<StageTimes[]> {
  return runStatement<StageTimes & Record<string, unknown>>(
    database,
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
  const rows = await runStatement(
    database,
    sql`select at, volume_id as "volumeId", backend, image_id as "imageId", coalesce((timings_ms ->> 'total')::float8, 0) as "totalMs",
        (timings_ms ->> 'download')::float8 as "downloadMs", (timings_ms ->> 'convert')::float8 as "convertMs",
        bytes_downloaded as "bytesDownloaded", workflow_id as "workflowId"
      from decisions where ${within(period)} and outcome = 'miss' order by 5 desc, id limit ${MAX_ROWS}`,
  );
  return rows.map((row) => ({ ...(row as unknown as ExpensiveMiss), at: dateOf(row) }));
}

export interface ImageUse {
  imageId: ImageId;
  creates: number;
  hits: number;
  bytesDownloaded: number;
  savedBytes: number;
  savedSeconds: number;
}

/** @returns the images that were asked for most. */
export function readImageUse(database: Database, period: ReportPeriod): Promise<ImageUse[]> {
  return runStatement<ImageUse & Record<string, unknown>>(
    database,
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
  const rows = await runStatement(
    database,
    sql`with newest as (
        select * from entry_events where ${within(period)} and kind in ('retired', 'deleted') order by at desc, id desc limit ${4 * MAX_ROWS}
      ), last as (select distinct on (entry_id) * from newest order by entry_id, id desc)
      select l.at, l.entry_id as "entryId", l.backend, l.short_key as "shortKey", l.kind, coalesce(l.reason, e.reason) as reason, l.detail, l.bytes,
        e.uses, e.cost_seconds as "costSeconds", ${imagesOf(sql`i.entry_id = l.entry_id`)} as "imageIds", l.workflow_id as "workflowId",
        ${imagesOf(sql`i.entry_id in (select o.id from cache_entries o where o.backend = l.backend and l.workflow_id like '%populate/%' and o.short_key = split_part(l.workflow_id, '/', 3))`)} as "forImageIds"
      from last l left join cache_entries e on e.id = l.entry_id order by l.at desc, l.id desc limit ${MAX_ROWS}`,
  );
  return rows.map((row) => ({ ...(row as unknown as EntryLeft), at: dateOf(row) }));
}

/** The driver gives times as text. */
function dateOf({ at }: RawRow): Date {
  return new Date(String(at));
}

function imagesOf(condition: SQL): SQL {
  return sql`to_jsonb(array(select distinct i.image_id from entry_images i where ${condition} order by 1 limit ${MAX_IMAGES_OF_ENTRY}))`;
}

function within({ from, to, backend }: ReportPeriod): SQL {
  const ofBackend = backend === undefined ? sql`true` : sql`backend = ${backend}`;
  return sql`at >= ${from.toISOString()}::timestamptz and at < ${to.toISOString()}::timestamptz and ${ofBackend}`;
}
