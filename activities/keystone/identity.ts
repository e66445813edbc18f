import type { Secret } from '../../lib/secret';
import type { ServiceTls } from '../../lib/service-tls';
import { authenticate, type Account, type Session } from './authenticate';
import { findEndpoint } from './catalogue';
import { readCloudSettings } from './cloud-settings';
import { isFailure } from '../../workflows/contract/failures';
import type { IdentityConfig } from './identity-config';
import { createKeystoneRequests, type KeystoneRequests } from './requests';
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
  const account = createPatientAccount(requests);
  const tokens = createTokenSource(async () => await account.authenticate(readCloudSettings(config, env)));
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

/** Keystone locks accounts that are tried too often: what it has refused is not tried again for so long, unless it was changed. */
const REFUSAL_HOLDS_MS = 60_000;

function createPatientAccount(requests: KeystoneRequests) {
  let refused: { settings: Account; error: unknown; untilMs: number } | undefined;
  return {
    async authenticate(settings: Account): Promise<Session> {
      if (refused !== undefined && performance.now() < refused.untilMs && isSame(refused.settings, settings))
        throw refused.error;
      try {
        return await authenticate(requests, settings);
      } catch (error) {
        if (isFailure(error, 'CredentialsRefused'))
          refused = { settings, error, untilMs: performance.now() + REFUSAL_HOLDS_MS };
        throw error;
      }
    },
  };
}

function isSame(left: Account, right: Account): boolean {
  const shown = ({ credentials, scope }: Account): string => JSON.stringify({ credentials, scope });
  return left.credentials.secret.equals(right.credentials.secret) && shown(left) === shown(right);
}

function accountOf({ body: { user, project, roles }, clockAheadMs }: Session): AccountDescription {
  return {
    user: user.name,
    project: project?.name,
    roles: roles.map(({ name }) => name).sort(),
    clockAheadMs,
  };
}
