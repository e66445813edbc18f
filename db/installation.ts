import { randomUUID } from 'node:crypto';
import { sql } from 'drizzle-orm/sql';
import { backends, installation } from './schema';
import type { InstallationId, ProjectId } from '../workflows/contract/ids';
import type { Quotas } from '../workflows/contract/quotas';
import type { Database } from './client';
import { inTransaction, query, runStatement, type Queryable } from './statement';

/** Gives the installation its id, once. Later calls get the same. */
export async function ensureInstallation(database: Database): Promise<InstallationId> {
  const id = randomUUID() as InstallationId;
  await query(database, (orm) => orm.insert(installation).values({ id }).onConflictDoNothing());
  return await readInstallation(database);
}

/**
 * Makes a database that holds nothing the inventory of installation `id` again, whose markers are on the backends.
 * Idempotent.
 * @throws Error when it is another's inventory and holds something.
 */
export async function adoptInstallation(database: Database, id: InstallationId): Promise<void> {
  const held = await ensureInstallation(database);
  if (held === id) return;
  const adopted = await inTransaction(database, async (transaction) => {
    const changed = await runStatement(
      transaction,
      sql`update installation set id = ${id} where not exists (select from volumes) and not exists (select from cache_entries)`,
    );
    // Places that its workers have claimed so far are not this installation's.
    if (changed > 0) await query(transaction, (orm) => orm.update(backends).set({ placeId: null }));
    return changed > 0;
  });
  if (!adopted)
    throw new Error(
      `IVC_INSTALLATION: got ${id}, but this database is the inventory of installation ${held} and holds volumes or cache entries`,
    );
}

async function readInstallation(database: Queryable): Promise<InstallationId> {
  const [row] = await query(database, (orm) => orm.select().from(installation));
  if (!row) throw new Error('the installation has no id');
  return row.id;
}

/** Notes whose the image-volumes are and which quotas a project has by default, for all who read the inventory. The worker that started last is right. */
export async function noteConfigured(
  database: Database,
  {
    internalTenant,
    quotas,
    snapshotBytesCount,
  }: {
    internalTenant: { projectId: string; userId: string };
    quotas: Partial<Quotas>;
    snapshotBytesCount: boolean;
  },
): Promise<void> {
  const { projectId, userId } = internalTenant;
  await query(database, (orm) =>
    orm.update(installation).set({
      internalProjectId: projectId as ProjectId,
      internalUserId: userId,
      defaultQuotas: quotas,
      snapshotBytesCount,
    }),
  );
}

/** @returns who owns all image-volumes; undefined while no worker has started. */
export async function findInternalTenant(
  database: Queryable,
): Promise<{ projectId: ProjectId; userId: string } | undefined> {
  const [row] = await query(database, (orm) => orm.select().from(installation));
  if (!row || row.internalProjectId === null || row.internalUserId === null) return undefined;
  return { projectId: row.internalProjectId, userId: row.internalUserId };
}

/** A namespace of a Temporal server. */
export interface NamespaceIdentity {
  name: string;
  /** The server's own id of it; undefined where it does not say. */
  id: string | undefined;
}

/**
 * Binds the inventory to the namespace in which its runs are: in any other one they look dead, and what they make would
 * be removed. Idempotent.
 * @param moved id, or name where no id is known, of the namespace that it is moved away from on purpose.
 * @throws Error when it is bound to another one.
 */
export async function bindNamespace(
  database: Database,
  { name, id = null, moved = null }: { name: string; id: string | null | undefined; moved?: string | null },
): Promise<void> {
  await ensureInstallation(database);
  const bound = await runStatement(
    database,
    sql`update installation set temporal_namespace = ${name}::text, temporal_namespace_id = coalesce(${id}::text, case
          when temporal_namespace = ${name} and ${moved}::text is null then temporal_namespace_id end)
        where temporal_namespace is null or coalesce(temporal_namespace_id, temporal_namespace) = ${moved}
          or temporal_namespace_id = ${id} or (temporal_namespace = ${name} and (temporal_namespace_id is null or ${id}::text is null))`,
  );
  if (bound > 0) return;
  const held = await findNamespace(database);
  const known = held?.id ?? held?.name;
  throw new Error(
    `temporal.namespace: got ${describeNamespace({ name, id: id ?? undefined })}, but the runs of this inventory are in ${
      held ? describeNamespace(held) : 'no namespace'
    }, and would count as dead here. Set TEMPORAL_ADDRESS and TEMPORAL_NAMESPACE to that one; or, when the inventory is moved on purpose ` +
      `and no worker runs there any more, start a worker once with IVC_MOVED_NAMESPACE=${known}`,
  );
}

/** @returns undefined while it is bound to none. */
export async function findNamespace(database: Queryable): Promise<NamespaceIdentity | undefined> {
  const [row] = await query(database, (orm) => orm.select().from(installation));
  const name = row?.temporalNamespace ?? undefined;
  return name === undefined ? undefined : { name, id: row?.temporalNamespaceId ?? undefined };
}

export function describeNamespace({ name, id }: NamespaceIdentity): string {
  return id === undefined ? name : `${name} (${id})`;
}
