import { and, count, desc, eq, inArray, isNotNull, ne, sql, type SQL } from 'drizzle-orm/sql';
import type { BackendName, ImageId } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { decisions, entryEvents } from '../schema';
import { cast, query, readRows, type RowRead } from '../statement';

/* Reads of `ivc report`: a period of decisions and of entry events, by their indexes on time. */

/** Decisions whose stages are read: the newest of the period. */
const MAX_TIMED_DECISIONS = 100_000;
const MAX_REASONS = 20;
const MAX_ROWS = 20;
const MAX_IMAGES_OF_ENTRY = 3;

export interface ReportPeriod {
  from: Date;
  to: Date;
  backend?: BackendName;
}

export type OutcomeBucket = RowRead<typeof readOutcomes>;
export type ReasonCount = RowRead<typeof readReasons>;
export type StageTimes = RowRead<typeof readStages>;
export type ExpensiveMiss = RowRead<typeof readExpensiveMisses>;
export type ImageUse = RowRead<typeof readImageUse>;
export type EntryLeft = RowRead<typeof readEntriesLeft>;

const sums = {
  bytesDownloaded: cast.integer(sql`sum(${decisions.bytesDownloaded})`),
  savedBytes: cast.integer(sql`sum(${decisions.savedBytes})`),
  savedSeconds: cast.float(sql`sum(${decisions.savedSeconds})`),
};

/** @returns decisions by time and outcome, the oldest first. */
export function readOutcomes(database: Database, { bucketMs, ...period }: ReportPeriod & { bucketMs: number }) {
  // Number of the bucket since 1970, of `bucketMs` each.
  const bucket = cast.integer(sql`floor(extract(epoch from ${decisions.at}) * 1000 / ${bucketMs}::float8)`);
  const where = within(period);
  return query(database, (orm) =>
    orm
      .select({ bucket, outcome: decisions.outcome, creates: count(), ...sums })
      .from(decisions)
      .where(where)
      .groupBy(sql`1, 2`)
      .orderBy(sql`1, 2`),
  );
}

/** @returns why creates were bypassed, refused or failed, the most frequent first. */
export function readReasons(database: Database, period: ReportPeriod) {
  const { outcome, errorType, reason: sentence } = decisions;
  // The failure's type, or the sentence where there is none.
  const reason = cast.text(sql`coalesce(${errorType}, ${sentence})`);
  const where = and(within(period), inArray(outcome, ['bypassed', 'refused', 'failed']));
  return query(database, (orm) =>
    orm
      .select({ outcome, reason, creates: count() })
      .from(decisions)
      .where(where)
      .groupBy(sql`1, 2`)
      .orderBy(sql`3 desc, 2`)
      .limit(MAX_REASONS),
  );
}

export function readStages(database: Database, period: ReportPeriod) {
  const fields = {
    outcome: decisions.outcome,
    stage: cast.text(sql`stage`),
    creates: count(),
    p50Ms: cast.float(sql`percentile_cont(0.5) within group (order by ms)`),
    p95Ms: cast.float(sql`percentile_cont(0.95) within group (order by ms)`),
    maxMs: cast.float(sql`max(ms)`),
  };
  return readRows(
    database,
    fields,
    (columns) => sql`select ${columns} from (
        select d.outcome, t.key as stage, t.value::float8 as ms
        from (
          select outcome, timings_ms from decisions where ${within(period)} and outcome in ('hit', 'joined', 'miss', 'bypassed')
          order by at desc limit ${MAX_TIMED_DECISIONS}
        ) d cross join lateral jsonb_each_text(d.timings_ms) t
      ) s group by 1, 2 order by 1, 2`,
  );
}

/** @returns the misses that took longest. */
export function readExpensiveMisses(database: Database, period: ReportPeriod) {
  const { id, at, volumeId, imageId, bytesDownloaded, workflowId, outcome, timingsMs } = decisions;
  const backend = cast.text<BackendName>(sql`${decisions.backend}`);
  const timings = {
    totalMs: cast.float(sql`coalesce((${timingsMs} ->> 'total')::float8, 0)`),
    downloadMs: cast.float<number | null>(sql`${timingsMs} ->> 'download'`),
    convertMs: cast.float<number | null>(sql`${timingsMs} ->> 'convert'`),
  };
  const imageName = cast.text<string | null>(
    sql`(select v.image_metadata ->> 'image_name' from volumes v where v.id = ${volumeId})`,
  );
  const where = and(within(period), eq(outcome, 'miss'));
  return query(database, (orm) =>
    orm
      .select({ at, volumeId, backend, imageId, imageName, bytesDownloaded, workflowId, ...timings })
      .from(decisions)
      .where(where)
      .orderBy(desc(timings.totalMs), id)
      .limit(MAX_ROWS),
  );
}

/** @returns the images of most creates. */
export function readImageUse(database: Database, period: ReportPeriod) {
  const { imageId, outcome, volumeId } = decisions;
  /** As one of its volumes has it: the inventory knows images by their ids. */
  const imageName = cast.text<string | null>(
    sql`(select v.image_metadata ->> 'image_name' from volumes v where v.id = max(${volumeId}::text)::uuid)`,
  );
  const ofImage = cast.text<ImageId>(sql`${imageId}`);
  const hits = cast.integer(sql`count(*) filter (where ${outcome} = 'hit')`);
  const where = and(within(period), isNotNull(imageId), ne(outcome, 'refused'));
  return query(database, (orm) =>
    orm
      .select({ imageId: ofImage, creates: count(), hits, ...sums, imageName })
      .from(decisions)
      .where(where)
      .groupBy(sql`1`)
      .orderBy(sql`2 desc, 1`)
      .limit(MAX_ROWS),
  );
}

/** @returns what left the cache and for whom, the newest first; each entry once, with the last that happened to it. */
export function readEntriesLeft(database: Database, period: ReportPeriod) {
  const populated = sql`select o.id from cache_entries o where o.backend = l.backend and l.workflow_id like '%populate/%'
    and o.short_key = split_part(l.workflow_id, '/', 3)`;
  const { at, entryId, detail, bytes, workflowId } = entryEvents;
  const fields = {
    at,
    entryId,
    detail,
    bytes,
    workflowId,
    backend: cast.text<BackendName>(sql`l.backend`),
    shortKey: cast.text(sql`l.short_key`),
    /** `retired`: clones hold it still. */
    kind: cast.text<'retired' | 'deleted'>(sql`l.kind`),
    reason: cast.text<string | null>(sql`coalesce(l.reason, e.reason)`),
    uses: cast.integer<number | null>(sql`e.uses`),
    costSeconds: cast.float<number | null>(sql`e.cost_seconds`),
    /** Images that it served, the first few. */
    imageIds: imagesOf(sql`i.entry_id = l.entry_id`),
    /** Images of what it made room for. */
    forImageIds: imagesOf(sql`i.entry_id in (${populated})`),
  };
  return readRows(
    database,
    fields,
    (columns) => sql`with newest as (
        select * from entry_events where ${within(period)} and kind in ('retired', 'deleted') order by at desc, id desc limit ${4 * MAX_ROWS}
      ), last as (select distinct on (entry_id) * from newest order by entry_id, id desc)
      select ${columns} from last l left join cache_entries e on e.id = l.entry_id order by l.at desc, l.id desc limit ${MAX_ROWS}`,
  );
}

function imagesOf(condition: SQL): SQL<ImageId[]> {
  return cast.json(
    sql`to_jsonb(array(select distinct i.image_id from entry_images i where ${condition} order by 1 limit ${MAX_IMAGES_OF_ENTRY}))`,
  );
}

function within({ from, to, backend }: ReportPeriod): SQL {
  const ofBackend = backend === undefined ? sql`true` : sql`backend = ${backend}`;
  return sql`at >= ${from.toISOString()}::timestamptz and at < ${to.toISOString()}::timestamptz and ${ofBackend}`;
}
