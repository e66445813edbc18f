/** A project and a user, each by id, or by name within a domain. */
export interface TenantConfig {
  projectId?: string;
  projectName?: string;
  /** Default: `default`. */
  projectDomainId?: string;
  userId?: string;
  userName?: string;
  /** Default: `default`. */
  userDomainId?: string;
}
