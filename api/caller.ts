import type { ProjectId } from '../workflows/contract/ids';

/** The sender of a request, as Keystone says, or as its path says where there is none. */
export interface ApiCaller {
  projectId: ProjectId;
  userId: string;
  /** In lower case. */
  roles: readonly string[];
  /** Whether a service, such as Nova, sends it with a token of its own on somebody's behalf. */
  byService: boolean;
}

/** @returns whether every project's resources are the caller's to see and to change. */
export function isAdmin({ roles }: ApiCaller): boolean {
  return roles.includes('admin');
}

/** @returns the project whose resources a request reaches; undefined: every project's, for an administrator. */
export function reachOf(caller: ApiCaller): ProjectId | undefined {
  return isAdmin(caller) ? undefined : caller.projectId;
}
