/** As whom a service of OpenStack asks Keystone. */
export interface ServiceAccount {
  /** Of Keystone. */
  url: string;
  user: string;
  password: string;
  project: string;
}

/** @returns the lines that each section of a service's configuration has of it, whatever it is for. */
export function formatServiceAccount({ url, user, password, project }: ServiceAccount): string {
  return `www_authenticate_uri = ${url}
auth_url = ${url}
auth_type = password
username = ${user}
password = ${password}
project_name = ${project}
user_domain_id = default
project_domain_id = default
`;
}
