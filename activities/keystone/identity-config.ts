/** Interfaces of a service catalogue. */
export const endpointInterfaces = ['public', 'internal', 'admin'] as const;
export type EndpointInterface = (typeof endpointInterfaces)[number];

interface Choice {
  /** Default: the cloud's. */
  region?: string;
  /** Default: the cloud's, else `public`. */
  interface?: EndpointInterface;
}

/** A cloud of `clouds.yaml`; the name `envvars` is what the variables `OS_*` say. */
export interface NamedCloud extends Choice {
  cloud: string;
}

/** A Keystone by its URL. The secret is in a file, or in `OS_PASSWORD`, `OS_APPLICATION_CREDENTIAL_SECRET` or `OS_TOKEN`. */
export interface WrittenCloud extends Choice {
  authUrl: string;
  username?: string;
  userId?: string;
  userDomainName?: string;
  userDomainId?: string;
  projectName?: string;
  projectId?: string;
  projectDomainName?: string;
  projectDomainId?: string;
  applicationCredentialId?: string;
  applicationCredentialName?: string;
  /** Holds the password, or the application credential's secret, and nothing else. */
  secretFile?: string;
  /** A bundle of PEM certificates in place of the system's. */
  cacert?: string;
  /** Whether certificates are not verified. */
  insecure?: boolean;
}

/** This service's account at a cloud's Keystone, and which of its endpoints it uses. */
export type IdentityConfig = NamedCloud | WrittenCloud;
