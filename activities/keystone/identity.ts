import type { Secret } from '../../lib/secret';
import type { ServiceTls } from '../../lib/service-tls';
import { authenticate, type Session } from './authenticate';
import { findEndpoint } from './catalogue';
import { readCloudSettings } from './cloud-settings';
import type { IdentityConfig } from './identity-config';
import { createKeystoneRequests } from './requests';
import { createTokenSource } from './token-source';

/** This service's own account at a Keystone. */
export interface Identity {
  /** Keystone's URL, for messages. */
  readonly service: string;
  /** Of the services in its catalogue, too. */
  readonly tls: ServiceTls;
  /** @param rejected the token that a service has answered 401 to. @throws Failure CredentialsRefused, IdentityUnavailable (retried). */
  getToken: (rejected?: Secret) => Promise<Secret>;
  /** The one that is configured, else the catalogue's, by region and interface. @throws as `getToken`; Failure InvalidRequest. */
  findImageEndpoint(): Promise<string>;
  /** Who we are, as Keystone says. @throws as `getToken`. */
  describeAccount(): Promise<AccountDescription>;
  close(): Promise<void>;
}

/** Names as people know them. */
export interface AccountDescription {
  user: string;
  /** Undefined: the token is for no project. */
  project: string | undefined;
  roles: string[];
  clockAheadMs: number | undefined;
}

/**
 * Nothing is sent before the first use. The account is read anew whenever a token is asked for: a password that was changed in `clouds.yaml` holds without a restart.
 * @throws Failure InvalidRequest for what is configured wrong.
 */
export function openIdentity(config: IdentityConfig, env: NodeJS.ProcessEnv = process.env): Identity {
  const { authUrl, tls } = readCloudSettings(config, env);
  const requests = createKeystoneRequests(authUrl, tls);
  const tokens = createTokenSource(async () => await authenticate(requests, readCloudSettings(config, env)));
  return {
    service: authUrl,
    tls,
    getToken: async (rejected) => (await tokens.session(rejected)).token,
    async findImageEndpoint() {
      const settings = readCloudSettings(config, env);
      if (settings.imageEndpoint !== undefined) return settings.imageEndpoint;
      return findEndpoint((await tokens.session()).body.catalog, 'image', settings);
    },
    describeAccount: async () => accountOf(await tokens.session()),
    close: () => requests.close(),
  };
}

function accountOf({ body: { user, project, roles }, clockAheadMs }: Session): AccountDescription {
  return {
    user: user.name,
    project: project?.name,
    roles: roles.map(({ name }) => name).sort(),
    clockAheadMs,
  };
}
