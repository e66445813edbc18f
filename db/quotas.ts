import { and, asc, eq, inArray, sql } from 'drizzle-orm/sql';
import type { ProjectId } from '../workflows/contract/ids';
import {
  DEFAULT_CLASS,
  quotaNames,
  typeQuotaNames,
  type KeptQuotaName,
  type QuotaName,
  type Quotas,
  type SettableQuota,
  type SetQuotasInput,
  type SetQuotasResult,
  type TypeQuotaName,
} from '../workflows/contract/quotas';
import type { Database } from './client';
import { recordEvent, type EventSource } from './events';
import { installation, projectQuotas, projectUsage, quotaClasses } from './schema';
import { type ProjectScope } from './scope';
import {
  cast,
  inTransaction,
  query,
  readRows,
  recordset,
  transactionTime,
  type Queryable,
  type RowRead,
} from './statement';

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
  return inTransaction(database, async (transaction) => {
    const place = { table: projectQuotas, key: projectQuotas.projectId, values: { projectId } };
    await writeLimits(transaction, place, { owner: projectId, quotas, by });
    const event = { kind: 'quotas.set', object: projectId, projectId, detail: quotas, ...source, by } as const;
    await recordEvent(transaction, event);
    const rows = await readSet(transaction, [projectId]);
    return Object.fromEntries(rows.map(({ quota, most }) => [quota, most]));
  });
}

/** As `writeQuotas`, of a class of quotas. */
export function writeQuotaClass(
  database: Database,
  {
    quotaClass,
    quotas,
    by,
    source,
  }: { quotaClass: string; quotas: SetQuotasInput['quotas']; by: string; source: EventSource },
): Promise<SetQuotasResult['set']> {
  return inTransaction(database, async (transaction) => {
    const place = { table: quotaClasses, key: quotaClasses.quotaClass, values: { quotaClass } };
    await writeLimits(transaction, place, { owner: quotaClass, quotas, by });
    await recordEvent(transaction, {
      kind: 'quotas.set',
      object: `class ${quotaClass}`,
      detail: quotas,
      ...source,
      by,
    });
    return await readQuotaClass(transaction, quotaClass);
  });
}

/** Whose limits they are, and where they are kept. */
type Owner =
  | { table: typeof projectQuotas; key: typeof projectQuotas.projectId; values: { projectId: ProjectId } }
  | { table: typeof quotaClasses; key: typeof quotaClasses.quotaClass; values: { quotaClass: string } };

async function writeLimits(
  transaction: Queryable,
  { table, key, values }: Owner,
  { owner, quotas, by }: { owner: string; quotas: SetQuotasInput['quotas']; by: string },
): Promise<void> {
  const named = Object.entries(quotas) as [SettableQuota, number | null | 'default'][];
  const unset = named.flatMap(([quota, most]) => (most === 'default' ? [quota] : []));
  if (unset.length > 0) {
    const where = and(eq(key, owner), inArray(table.quota, unset));
    await query(transaction, (orm) => orm.delete(table).where(where));
  }
  for (const [quota, most] of named) {
    if (most === 'default') continue;
    const set = { most, setBy: by, setAt: transactionTime };
    await query(transaction, (orm) =>
      orm
        .insert(table)
        .values({ ...values, quota, most, setBy: by })
        .onConflictDoUpdate({ target: [key, table.quota], set }),
    );
  }
}

/** @returns what was set for a class; null: no limit. */
export async function readQuotaClass(on: Queryable, quotaClass: string): Promise<SetQuotasResult['set']> {
  const where = eq(quotaClasses.quotaClass, quotaClass);
  const rows = await query(on, (orm) =>
    orm.select().from(quotaClasses).where(where).orderBy(asc(quotaClasses.quota)).limit(MOST_OF_CLASS),
  );
  return Object.fromEntries(rows.map(({ quota, most }) => [quota, most]));
}

/** Three of each volume type, and those of the project itself. */
const MOST_OF_CLASS = 4000;

/** Follows a volume type to its new name, or, without one, forgets its quotas. */
export async function renameTypeQuotas(
  transaction: Queryable,
  { from, to }: { from: string; to: string | undefined },
): Promise<void> {
  for (const table of [projectQuotas, quotaClasses])
    for (const kind of typeQuotaNames) {
      const where = eq(table.quota, `${kind}:${from}`);
      await query(transaction, (orm) =>
        to === undefined
          ? orm.delete(table).where(where)
          : orm
              .update(table)
              .set({ quota: `${kind}:${to}` })
              .where(where),
      );
    }
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
  const defaults = { ...held?.defaultQuotas, ...(await readQuotaClass(database, DEFAULT_CLASS)) };
  const set = await readSet(database, projectIds);
  const usage = new Map((await readUsage(database, projectIds)).map((row) => [row.projectId, row]));
  return projectIds.map((projectId) => ({
    projectId,
    quotas: quotasOf(
      set.filter((row) => row.projectId === projectId),
      defaults,
    ),
    used: usedOf(usage.get(projectId), held?.snapshotBytesCount ?? true),
  }));
}

/** @returns what is set for a project, by its class or itself, beside what `selectQuotas` tells: of volume types, and what limits nothing. */
export async function readOtherQuotas(
  database: Database,
  projectId: ProjectId,
): Promise<Partial<Record<KeptQuotaName | TypeQuotaName, number | null>>> {
  const ofClass = await readQuotaClass(database, DEFAULT_CLASS);
  const own = (await readSet(database, [projectId])).map(({ quota, most }): [string, number | null] => [quota, most]);
  const all = new Map<string, number | null | undefined>([...Object.entries(ofClass), ...own]);
  for (const known of quotaNames) all.delete(known);
  return Object.fromEntries(all);
}

/** Usage of a volume type by a project; `bytes` as the quota counts them. */
export interface TypeUsage {
  volumeType: string | null;
  volumes: number;
  snapshots: number;
  bytes: number;
}

/** @returns what a project has of each volume type; null: of volumes without one. */
export async function readTypeUsage(
  database: Database,
  { projectId, volumeTypes }: { projectId: ProjectId; volumeTypes: readonly (string | null)[] },
): Promise<TypeUsage[]> {
  const given = volumeTypes.map((name) => ({ volume_type: name }));
  const fields = {
    volumeType: cast.text<string | null>(sql`given.volume_type`),
    volumes: cast.integer(sql`used.volumes`),
    snapshots: cast.integer(sql`used.snapshots`),
    bytes: cast.integer(
      sql`used.bytes + case when coalesce((select i.snapshot_bytes_count from installation i), true) then used.snapshot_bytes else 0 end`,
    ),
  };
  return await readRows(
    database,
    fields,
    (columns) =>
      sql`select ${columns} from ${recordset(given, sql`volume_type text`)} cross join lateral type_usage(${projectId}, given.volume_type) used`,
  );
}

/** @returns what an operator has set for a project, kept or limiting. */
export function readSetQuotas(database: Database, projectId: ProjectId) {
  return readSet(database, [projectId]);
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
