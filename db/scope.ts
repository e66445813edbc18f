import { sql, type SQL, type SQLWrapper } from 'drizzle-orm/sql';
import type { ProjectId } from '../workflows/contract/ids';

/** Whose rows a query reaches: one project's, as every verb of a user says, or everybody's, for operators and for what workflows do. */
export type ProjectScope = { projectId: ProjectId } | 'all projects';

/** @returns the scope of a caller who names a project, or of an operator, who names none. */
export function scopeOf(projectId: ProjectId | undefined): ProjectScope {
  return projectId === undefined ? 'all projects' : { projectId };
}

/**
 * The one condition that keeps a query to its scope. It is part of the statement that looks for the row: another project's
 * row is found no sooner and no later than one that never was.
 */
export function isInScope(projectId: SQLWrapper, scope: ProjectScope): SQL {
  return scope === 'all projects' ? sql`true` : sql`${projectId} = ${scope.projectId}`;
}
