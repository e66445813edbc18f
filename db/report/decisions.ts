import { and, count, desc, eq, gte, sql, sum, type SQL } from 'drizzle-orm/sql';
import type { BackendName, EntryId, ImageId, ProjectId, VolumeId } from '../../workflows/contract/ids';
import type { Caller } from '../../workflows/contract/event-kinds';
import { isOfCache, type OutcomeWithoutCache, type TimingsMs } from '../../workflows/contract/volume';
import type { Database } from '../client';
import { decisions, type DecisionOutcome, type DecisionRow } from '../schema';
import { json, query, runStatement } from '../statement';

/** The part of a decision record that is not in the volume's row. */
export interface DecisionNote {
  /** One sentence: why this outcome. */
  reason: string;
  bytesDownloaded?: number;
  timingsMs?: TimingsMs;
}

export interface NewDecision extends DecisionNote, Caller {
  volumeId: VolumeId | null;
  projectId?: ProjectId;
  backend?: BackendName;
  imageId?: ImageId;
  shortKey?: string;
  entryId?: EntryId;
  outcome: DecisionOutcome;
  errorType?: string;
  workflowId: string;
  runId: string;
}

/** Records one decision a run; the first one of a run stays. For refusals, which have no volume row. */
export async function recordDecision(database: Database, decision: NewDecision): Promise<void> {
  await runStatement(
    database,
    sql`insert into decisions (volume_id, project_id, backend, image_id, short_key, entry_id, outcome, reason, error_type, bytes_downloaded, timings_ms, workflow_id, run_id,
        requested_by, request_id)
      values (${decision.volumeId}, ${decision.projectId ?? null}, ${decision.backend ?? null}, ${decision.imageId ?? null}, ${decision.shortKey ?? null},
        ${decision.entryId ?? null}, ${decision.outcome}, ${decision.reason}, ${decision.errorType ?? null}, ${decision.bytesDownloaded ?? 0},
        ${json(decision.timingsMs ?? {})}, ${decision.workflowId}, ${decision.runId},
        ${decision.by ?? null}, ${decision.requestId ?? null})
      on conflict (workflow_id, run_id) do nothing`,
  );
}

/**
 * For a statement's `with` list: records the decision of each row of the list's `volumes`-shaped item `of`, which it may
 * reach once a run. Where one run makes several volumes each has its own: the run's id is followed by the volume's then.
 */
export function decisionOf(
  of: string,
  decision: DecisionTerms & {
    /** Names an item of the list with `id` of a volume, `bytes` and `seconds`: what the cache spared. */
    saved?: string;
    ofSeveral?: boolean;
  },
): SQL {
  const saved = (column: 'bytes' | 'seconds') =>
    decision.saved === undefined
      ? sql`0`
      : sql`coalesce((select s.${sql.identifier(column)} from ${sql.identifier(decision.saved)} s where s.id = d.id), 0)`;
  return sql`insert into decisions (volume_id, project_id, backend, image_id, short_key, entry_id, outcome, reason, error_type, bytes_downloaded,
      saved_bytes, saved_seconds, timings_ms, workflow_id, run_id, requested_by, request_id)
    select id, project_id, backend, image_id, short_key, entry_id, ${decision.outcome}, ${decision.reason}, ${decision.errorType ?? null},
      ${decision.bytesDownloaded ?? 0}::bigint, ${saved('bytes')}, ${saved('seconds')}, ${decision.timingsMs ?? sql`'{}'::jsonb`}, workflow_id,
      ${decision.ofSeveral ? sql`run_id || '/' || id` : sql`run_id`}, requested_by, request_id
    from ${sql.identifier(of)} d on conflict (workflow_id, run_id) do nothing`;
}

/** Values, or columns of the rows. */
interface DecisionTerms {
  outcome: DecisionOutcome | SQL;
  reason: string | SQL;
  errorType?: string | SQL;
  bytesDownloaded?: number | SQL;
  /** Of type jsonb. */
  timingsMs?: SQL;
}

/** @returns the newest first. */
export function listDecisions(
  database: Database,
  {
    volumeId,
    entryId,
    backend,
    since,
    limit,
  }: { volumeId?: VolumeId; entryId?: EntryId; backend?: BackendName; since?: Date; limit: number },
): Promise<DecisionRow[]> {
  const where = and(
    volumeId && eq(decisions.volumeId, volumeId),
    entryId && eq(decisions.entryId, entryId),
    backend && eq(decisions.backend, backend),
    since && gte(decisions.at, since),
  );
  return query(database, (orm) =>
    orm.select().from(decisions).where(where).orderBy(desc(decisions.at), desc(decisions.id)).limit(limit),
  );
}

export type DecisionTotals = Record<Exclude<DecisionOutcome, OutcomeWithoutCache>, number> & {
  bytesDownloaded: number;
  savedBytes: number;
  savedSeconds: number;
};

/**
 * @param withinMs how far back, in milliseconds. @returns how many of each outcome, the bytes they downloaded and what
 * they were spared.
 */
export async function summarizeDecisions(
  database: Database,
  { backend, withinMs }: { backend?: BackendName; withinMs: number },
): Promise<DecisionTotals> {
  const where = and(
    backend && eq(decisions.backend, backend),
    sql`${decisions.at} >= now() - ${withinMs}::float8 * interval '1 millisecond'`,
  );
  const rows = await query(database, (orm) =>
    orm
      .select({
        outcome: decisions.outcome,
        decided: count(),
        downloaded: sum(decisions.bytesDownloaded),
        savedBytes: sum(decisions.savedBytes),
        savedSeconds: sum(decisions.savedSeconds),
      })
      .from(decisions)
      .where(where)
      .groupBy(decisions.outcome),
  );
  const summary: DecisionTotals = {
    hit: 0,
    miss: 0,
    joined: 0,
    bypassed: 0,
    refused: 0,
    failed: 0,
    bytesDownloaded: 0,
    savedBytes: 0,
    savedSeconds: 0,
  };
  for (const { outcome, decided, downloaded, savedBytes, savedSeconds } of rows) {
    if (isOfCache(outcome)) summary[outcome] = decided;
    summary.bytesDownloaded += Number(downloaded ?? 0);
    summary.savedBytes += Number(savedBytes ?? 0);
    summary.savedSeconds += Number(savedSeconds ?? 0);
  }
  return summary;
}
