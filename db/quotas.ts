import { and, asc, eq, inArray, sql } from 'drizzle-orm/sql';
import type { ProjectId } from '../workflows/contract/ids';
import {
  keptQuotaNames,
  quotaNames,
  type KeptQuotaName,
  type QuotaName,
  type Quotas,
  type SetQuotasInput,
  type SetQuotasResult,
} from '../workflows/contract/quotas';
import type { Database } from './client';
import { recordEvent, type EventSource } from './events';
import { installation, projectQuotas, projectUsage } from './schema';
import { type ProjectScope } from './scope';
import { cast, inTransaction, query, readRows, transactionTime, type Queryable, type RowRead } from './statement';

/**
 * Sets quotas of a project, null for no limit; `default` takes back what was set. A create that is admitted at this moment
 * may still be by what held before. Idempotent. @returns those that are set now.
 */
export function writeQuotas(
  database: Database,
  {
    projectId,
    quotas,
    by,
    source,
  }: { projectId: ProjectId; quotas: SetQuotasInput['quotas']; by: string; source: EventSource },
): Promise<SetQuotasResult['set']> {
  const named = [...quotaNames, ...keptQuotaNames].filter((quota) => quotas[quota] !== undefined);
  const unset = named.filter((quota) => quotas[quota] === 'default');
  const set = named.flatMap((quota) => {
    const most = quotas[quota];
    return most === undefined || most === 'default' ? [] : [{ projectId, quota, most, setBy: by }];
  });
  return inTransaction(database, async (transaction) => {
    if (unset.length > 0) {
      const where = and(eq(projectQuotas.projectId, projectId), inArray(projectQuotas.quota, unset));
      await query(transaction, (orm) => orm.delete(projectQuotas).where(where));
    }
    for (const row of set)
      await query(transaction, (orm) =>
        orm
          .insert(projectQuotas)
          .values(row)
          .onConflictDoUpdate({
            target: [projectQuotas.projectId, projectQuotas.quota],
            set: { most: row.most, setBy: row.setBy, setAt: transactionTime },
          }),
      );
    const event = { kind: 'quotas.set', object: projectId, projectId, detail: quotas, ...source, by } as const;
    await recordEvent(transaction, event);
    const rows = await readSet(transaction, [projectId]);
    return Object.fromEntries(rows.map(({ quota, most }) => [quota, most]));
  });
}

/** A limit of a project; `setBy`: null where it is the installation's. */
export interface QuotaRow {
  limit: number | null;
  setBy: string | null;
  setAt: Date | null;
}

export interface ProjectQuotasRow {
  projectId: ProjectId;
  quotas: Record<QuotaName, QuotaRow>;
  /** `bytes` as the quota counts them. */
  used: { volumes: number; snapshots: number; bytes: number };
}

/** @returns what holds for a project, or for all that have volumes, snapshots or quotas of their own, by their ids, after `after`. */
export async function selectQuotas(
  database: Database,
  { scope, limit, after = null }: { scope: ProjectScope; limit: number; after?: string | null },
): Promise<ProjectQuotasRow[]> {
  const projectIds = scope === 'all projects' ? await listProjects(database, { limit, after }) : [scope.projectId];
  if (projectIds.length === 0) return [];
  const [held] = await query(database, (orm) => orm.select().from(installation));
  const set = await readSet(database, projectIds);
  const usage = new Map((await readUsage(database, projectIds)).map((row) => [row.projectId, row]));
  return projectIds.map((projectId) => ({
    projectId,
    quotas: quotasOf(
      set.filter((row) => row.projectId === projectId),
      held?.defaultQuotas ?? {},
    ),
    used: usedOf(usage.get(projectId), held?.snapshotBytesCount ?? true),
  }));
}

/** @returns what is kept for a project, and limits nothing; a name that is not there was not set. */
export async function readKeptQuotas(
  database: Database,
  projectId: ProjectId,
): Promise<Partial<Record<KeptQuotaName, number | null>>> {
  const rows = await readSet(database, [projectId]);
  const kept = keptQuotaNames
    .map((quota) => rows.find((row) => row.quota === quota))
    .filter((row) => row !== undefined);
  return Object.fromEntries(kept.map(({ quota, most }) => [quota, most]));
}

function usedOf(usage: Usage | undefined, countsSnapshots: boolean): ProjectQuotasRow['used'] {
  const { volumes = 0, bytes = 0, snapshots = 0, snapshotBytes = 0 } = usage ?? {};
  return { volumes, snapshots, bytes: countsSnapshots ? bytes + snapshotBytes : bytes };
}

function quotasOf(set: (typeof projectQuotas.$inferSelect)[], defaults: Partial<Quotas>): Record<QuotaName, QuotaRow> {
  const limitOf = (quota: QuotaName): QuotaRow => {
    const row = set.find((found) => found.quota === quota);
    if (row === undefined) return { limit: defaults[quota] ?? null, setBy: null, setAt: null };
    return { limit: row.most, setBy: row.setBy, setAt: row.setAt };
  };
  return Object.fromEntries(quotaNames.map((quota) => [quota, limitOf(quota)])) as Record<QuotaName, QuotaRow>;
}

async function listProjects(
  database: Database,
  { limit, after }: { limit: number; after: string | null },
): Promise<ProjectId[]> {
  const rows = await readRows(
    database,
    { projectId: cast.text<ProjectId>(sql`project_id`) },
    (columns) => sql`select ${columns} from (
        select project_id from project_quotas
        union select project_id from project_usage group by project_id having sum(volumes) > 0 or sum(snapshots) > 0
      ) known where ${after}::text is null or project_id > ${after}::text order by project_id limit ${limit}`,
  );
  return rows.map(({ projectId }) => projectId);
}

function readSet(on: Queryable, projectIds: ProjectId[]) {
  const where = inArray(projectQuotas.projectId, projectIds);
  return query(on, (orm) => orm.select().from(projectQuotas).where(where).orderBy(asc(projectQuotas.quota)));
}

function readUsage(on: Queryable, projectIds: ProjectId[]) {
  const where = inArray(projectUsage.projectId, projectIds);
  const sums = {
    projectId: projectUsage.projectId,
    volumes: cast.integer(sql`sum(${projectUsage.volumes})`),
    bytes: cast.integer(sql`sum(${projectUsage.bytes})`),
    snapshots: cast.integer(sql`sum(${projectUsage.snapshots})`),
    snapshotBytes: cast.integer(sql`sum(${projectUsage.snapshotBytes})`),
  };
  return query(on, (orm) => orm.select(sums).from(projectUsage).where(where).groupBy(projectUsage.projectId));
}

type Usage = RowRead<typeof readUsage>;
