import { and, asc, eq, inArray, ne, or, sql } from 'drizzle-orm/sql';
import { getTableColumns } from 'drizzle-orm/utils';
import { uuidPattern, type ProjectId } from '../workflows/contract/ids';
import type { VolumeTypeChange } from '../workflows/contract/volume-type';
import type { Database } from './client';
import { findEventOfRun, recordEvent, type EventSource } from './events';
import { renameTypeQuotas } from './quotas';
import { defaultVolumeTypes, volumes, volumeTypes, type VolumeTypeRow } from './schema';
import { inTransaction, query, readRows, runStatement, transactionTime, type Queryable } from './statement';

export type ChangeTypeOutcome =
  | { kind: 'absent' | 'name-taken' }
  /** Volumes have it: the type that they are made by stays. */
  | { kind: 'in-use' }
  | { kind: 'done'; type: Pick<VolumeTypeRow, 'name'> };

type Verb<Request> = (database: Database, request: Request) => Promise<ChangeTypeOutcome>;

/** Makes a volume type, with its event. Repeated it is the same one. */
export const insertVolumeType: Verb<{
  id: string;
  name: string;
  change: Omit<VolumeTypeChange, 'name'>;
  source: EventSource;
}> = (database, { id, name, change, source }) =>
  inTransaction(database, async (transaction) => {
    const { description = null, isPublic = true, extraSpecs = {}, addProjects = [], encryption = null } = change;
    const projects = addProjects as ProjectId[];
    const row = { id, name, description, isPublic, extraSpecs, projects, encryption };
    const [made] = await query(transaction, (orm) =>
      orm.insert(volumeTypes).values(row).onConflictDoNothing().returning(),
    );
    if (made === undefined) {
      const existing = await lockVolumeType(transaction, id);
      return existing?.name === name ? { kind: 'done', type: existing } : { kind: 'name-taken' };
    }
    const event = { kind: 'volume-type.set', object: name, detail: { isPublic, extraSpecs }, ...source } as const;
    await recordEvent(transaction, event);
    return { kind: 'done', type: made };
  });

/** Changes a volume type, with its event; volumes have its new name at once. Repeated it changes nothing more. */
export const updateVolumeType: Verb<{ id: string; change: VolumeTypeChange; source: EventSource }> = (
  database,
  { id, change, source },
) =>
  inTransaction(database, async (transaction) => {
    const found = await lockVolumeType(transaction, id);
    if (found === undefined) return { kind: 'absent' };
    const { name = found.name, description = found.description, isPublic = found.isPublic } = change;
    const { encryption = found.encryption } = change;
    const specs = change.extraSpecs !== undefined || change.unsetExtraSpecs !== undefined;
    if ((specs || change.encryption !== undefined) && (await isUsed(transaction, id))) return { kind: 'in-use' };
    if (name !== found.name && (await isTaken(transaction, { id, name }))) return { kind: 'name-taken' };
    const unset = new Set(change.unsetExtraSpecs);
    const extraSpecs = Object.fromEntries(
      Object.entries({ ...found.extraSpecs, ...change.extraSpecs }).filter(([key]) => !unset.has(key)),
    );
    const removed = new Set(change.removeProjects);
    const projects = [...new Set([...found.projects, ...((change.addProjects ?? []) as ProjectId[])])].filter(
      (project) => !removed.has(project),
    );
    const values = { name, description, isPublic, extraSpecs, projects, encryption, updatedAt: transactionTime };
    const [type] = await query(transaction, (orm) =>
      orm.update(volumeTypes).set(values).where(eq(volumeTypes.id, id)).returning(),
    );
    if (name !== found.name) {
      await runStatement(transaction, sql`update volumes set volume_type = ${name} where volume_type_id = ${id}::uuid`);
      await renameTypeQuotas(transaction, { from: found.name, to: name });
    }
    const detail = { isPublic, extraSpecs, projects, ...(name !== found.name && { formerName: found.name }) };
    await recordEvent(transaction, { kind: 'volume-type.set', object: name, detail, ...source });
    return { kind: 'done', type: type ?? found };
  });

/** Removes a volume type that no volume has, with its event. Repeated by the same run it is `done` again; else the absent is `absent`. */
export const deleteVolumeType: Verb<{ id: string; source: EventSource }> = (database, { id, source }) =>
  inTransaction(database, async (transaction) => {
    const found = await lockVolumeType(transaction, id);
    if (found === undefined) {
      const removed = await findEventOfRun(transaction, { kind: 'volume-type.removed', source });
      return removed === undefined ? { kind: 'absent' } : { kind: 'done', type: { name: removed.object } };
    }
    if ((await isUsed(transaction, id)) || (await isDefault(transaction, id))) return { kind: 'in-use' };
    await query(transaction, (orm) => orm.delete(volumeTypes).where(eq(volumeTypes.id, id)));
    await renameTypeQuotas(transaction, { from: found.name, to: undefined });
    await recordEvent(transaction, { kind: 'volume-type.removed', object: found.name, ...source });
    return { kind: 'done', type: found };
  });

/** Makes a type the default of projects, in place of another, or of none; with its event. Repeated it changes nothing. */
export function changeDefaultType(
  database: Database,
  { id, add, remove, source }: { id: string; add: ProjectId[]; remove: ProjectId[]; source: EventSource },
): Promise<void> {
  return inTransaction(database, async (transaction) => {
    // Nobody deletes it meanwhile.
    await lockVolumeType(transaction, id);
    const { projectId, volumeTypeId } = defaultVolumeTypes;
    const unset = and(inArray(projectId, remove), eq(volumeTypeId, id));
    if (remove.length > 0) await query(transaction, (orm) => orm.delete(defaultVolumeTypes).where(unset));
    const rows = add.map((project) => ({ projectId: project, volumeTypeId: id }));
    const set = { volumeTypeId: id, setAt: transactionTime };
    if (rows.length > 0)
      await query(transaction, (orm) =>
        orm.insert(defaultVolumeTypes).values(rows).onConflictDoUpdate({ target: projectId, set }),
      );
    const detail = { addDefaultOf: add, removeDefaultOf: remove };
    await recordEvent(transaction, { kind: 'volume-type.set', object: id, detail, ...source });
  });
}

/** Projects with a default type of their own that are listed at once. */
const MOST_DEFAULTS = 10_000;

const { setAt: _at, ...ofDefaults } = getTableColumns(defaultVolumeTypes);

/** @returns the ids of the types that projects have by default; of one project where it is named. */
export function selectDefaultTypes(
  database: Queryable,
  { projectId }: { projectId?: ProjectId } = {},
): Promise<{ projectId: ProjectId; volumeTypeId: string }[]> {
  const where = projectId === undefined ? sql`true` : eq(defaultVolumeTypes.projectId, projectId);
  // As `findVolume`: every create asks.
  return readRows(
    database,
    ofDefaults,
    (columns) =>
      sql`select ${columns} from default_volume_types where ${where} order by project_id limit ${MOST_DEFAULTS}`,
  );
}

async function isDefault(transaction: Queryable, id: string): Promise<boolean> {
  const where = eq(defaultVolumeTypes.volumeTypeId, id);
  const rows = await query(transaction, (orm) => orm.select().from(defaultVolumeTypes).where(where).limit(1));
  return rows.length > 0;
}

/** @param called its name or its id. */
export async function findVolumeType(database: Queryable, called: string): Promise<VolumeTypeRow | undefined> {
  const where = or(eq(volumeTypes.name, called), uuidPattern.test(called) ? eq(volumeTypes.id, called) : undefined);
  const [row] = await query(database, (orm) => orm.select().from(volumeTypes).where(where).limit(1));
  return row;
}

/** Types that are listed at once; a cloud has a few. */
const MOST_LISTED = 1000;

/** @returns all, in the order in which they were made. */
export function selectVolumeTypes(database: Queryable): Promise<VolumeTypeRow[]> {
  return query(database, (orm) =>
    orm.select().from(volumeTypes).orderBy(asc(volumeTypes.createdAt), asc(volumeTypes.id)).limit(MOST_LISTED),
  );
}

async function lockVolumeType(transaction: Queryable, id: string): Promise<VolumeTypeRow | undefined> {
  const [row] = await query(transaction, (orm) =>
    orm.select().from(volumeTypes).where(eq(volumeTypes.id, id)).for('update'),
  );
  return row;
}

async function isTaken(transaction: Queryable, { id, name }: { id: string; name: string }): Promise<boolean> {
  const where = and(eq(volumeTypes.name, name), ne(volumeTypes.id, id));
  const rows = await query(transaction, (orm) => orm.select({ id: volumeTypes.id }).from(volumeTypes).where(where));
  return rows.length > 0;
}

async function isUsed(transaction: Queryable, id: string): Promise<boolean> {
  const where = and(eq(volumes.volumeTypeId, id), sql`${volumes.state} <> 'deleted'`);
  const rows = await query(transaction, (orm) => orm.select({ id: volumes.id }).from(volumes).where(where).limit(1));
  return rows.length > 0;
}
