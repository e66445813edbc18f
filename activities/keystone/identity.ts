import { parseJson } from '../../lib/json';
import type { Secret } from '../../lib/secret';
import type { ServiceTls } from '../../lib/service-tls';
import type { z } from 'zod';
import { authenticate, parseKeystone, type Account, type Session } from './authenticate';
import { findEndpoint } from './catalogue';
import { readCloudSettings } from './cloud-settings';
import { Failure, isFailure } from '../../workflows/contract/failures';
import type { IdentityConfig } from './identity-config';
import { createKeystoneRequests, type ServiceAnswer, type ServiceRequest, type ServiceRequests } from './requests';
import { catalogueSchema, type TokenBody } from './schema';
import { createTokenSource } from './token-source';
import { validatedTokenSchema, type TokenValidation } from './validate-token';

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
  /** As the catalogue is now, which a token's may no longer be; undefined where it has no service of this type. @throws as `findImageEndpoint`. */
  findServiceEndpoint(type: string): Promise<string | undefined>;
  /** Our account, as Keystone describes it. @throws as `getToken`. */
  describeAccount(): Promise<AccountDescription>;
  /** The same, with ids. @throws as `getToken`. */
  readOwn(): Promise<Pick<TokenBody, 'user' | 'project' | 'roles'>>;
  /** Asks Keystone with our token. @param path below its URL. @throws as `getToken`. */
  read<Schema extends z.ZodType>(path: string, schema: Schema): Promise<z.output<Schema> | 'missing' | 'forbidden'>;
  /** Owner of a token that somebody has given us. @throws as `getToken`. */
  validateToken(token: Secret): Promise<TokenValidation | 'invalid'>;
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
  const askWithToken = async (request: Omit<ServiceRequest, 'token'>): Promise<ServiceAnswer> => {
    const ask = async (token: Secret) => await requests.exchange({ ...request, token: token.reveal() });
    const { token } = await tokens.session();
    const first = await ask(token);
    return first.status === 401 ? await ask((await tokens.session(token)).token) : first;
  };
  return {
    service: authUrl,
    tls,
    getToken: async (rejected) => (await tokens.session(rejected)).token,
    async findImageEndpoint() {
      const settings = readCloudSettings(config, env);
      if (settings.imageEndpoint !== undefined) return settings.imageEndpoint;
      return findEndpoint((await tokens.session()).body.catalog, 'image', settings);
    },
    async findServiceEndpoint(type) {
      const answer = await askWithToken({ method: 'GET', path: '/auth/catalog' });
      const found = parseRecord(requests, answer, catalogueSchema);
      if (typeof found === 'string' || !found.catalog.some((service) => service.type === type)) return undefined;
      return findEndpoint(found.catalog, type, readCloudSettings(config, env));
    },
    readOwn: async () => (await tokens.session()).body,
    async read(path, schema) {
      return parseRecord(requests, await askWithToken({ method: 'GET', path }), schema);
    },
    async validateToken(token) {
      const answer = await askWithToken({
        method: 'GET',
        path: '/auth/tokens?nocatalog',
        subjectToken: token.reveal(),
      });
      // 401 and 404: none of Keystone's, expired or revoked; 400: no token at all.
      if ([400, 401, 404].includes(answer.status)) return 'invalid';
      const found = parseRecord(requests, answer, validatedTokenSchema);
      return typeof found === 'string' ? 'invalid' : found;
    },
    describeAccount: async () => accountOf(await tokens.session()),
    close: () => requests.close(),
  };
}

/** Keystone locks accounts that are tried too often: one that it has refused is not tried again for so long, unless it was changed. */
const REFUSAL_HOLDS_MS = 60_000;

function createPatientAccount(requests: ServiceRequests) {
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

function parseRecord<Schema extends z.ZodType>(
  { service }: ServiceRequests,
  { status, text }: ServiceAnswer,
  schema: Schema,
): z.output<Schema> | 'missing' | 'forbidden' {
  if (status === 403) return 'forbidden';
  if (status === 404) return 'missing';
  if (status === 200) return parseKeystone({ service }, schema, parseJson(text));
  throw new Failure('IdentityUnavailable', { service, cause: `it answers ${status}` });
}

function accountOf({ body: { user, project, roles }, clockAheadMs }: Session): AccountDescription {
  return {
    user: user.name,
    project: project?.name,
    roles: roles.map(({ name }) => name).sort(),
    clockAheadMs,
  };
}
