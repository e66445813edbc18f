import type { FastifyRequest } from 'fastify';
import type { Identity } from '../activities/keystone/identity';
import type { TokenValidation } from '../activities/keystone/validate-token';
import { findForeignPage } from '../lib/foreign-page';
import { Secret } from '../lib/secret';
import type { ProjectId } from '../workflows/contract/ids';
import type { ApiCaller } from './caller';
import { ApiError } from './errors';
import { createTokenCache } from './token-cache';

export type Authenticate = (request: FastifyRequest) => Promise<ApiCaller>;

/**
 * Every caller administers, and says with the path whose volumes they are: for the loopback interface alone.
 * @throws ApiError 403 for what a browser sends on behalf of somebody's web page.
 */
export function trustPath(defaultProjectId: string): Authenticate {
  const projectOf = (path: string): string => (path === NO_PROJECT ? defaultProjectId : path);
  return async (request) => {
    const why = findForeignPage(request.headers);
    if (why !== undefined) throw new ApiError(403, why);
    return {
      projectId: projectOf(projectOfPath(request)) as ProjectId,
      userId: headerOf(request, 'x-user-id') ?? 'anonymous',
      roles: ['admin', 'member', 'reader'],
      byService: headerOf(request, 'x-service-token') !== undefined,
    };
  };
}

/** Roles of a service's own account. Source: `service_token_roles` of keystonemiddleware. */
const SERVICE_ROLE = 'service';

/** Tokens of other bytes are nobody's, and nothing that Keystone could be asked. */
const TOKEN = /^[\x21-\x7e]{1,8192}$/;

/**
 * Asks Keystone for the caller of each token, and takes its answer for `cacheMs`.
 * @throws ApiError 401 for what is no token of Keystone's; Failure IdentityUnavailable.
 */
export function askKeystone(
  identity: Pick<Identity, 'service' | 'validateToken'>,
  { cacheMs }: { cacheMs: number },
): Authenticate {
  const tokens = createTokenCache((token) => identity.validateToken(token), { cacheMs });
  const validate = async (text: string): Promise<TokenValidation> => {
    if (!TOKEN.test(text)) throw unauthorized(identity.service);
    const validation = await tokens.validate(new Secret(text));
    if (validation === 'invalid') throw unauthorized(identity.service);
    return validation;
  };
  return async (request) => {
    const given = headerOf(request, 'x-auth-token');
    if (given === undefined) throw unauthorized(identity.service);
    const serviceToken = headerOf(request, 'x-service-token');
    const [user, service] = await Promise.all([
      validate(given),
      serviceToken === undefined ? undefined : validate(serviceToken),
    ]);
    if (user.projectId === undefined) throw new ApiError(403, 'The token is not for a project.');
    return {
      projectId: user.projectId as ProjectId,
      userId: user.userId,
      roles: user.roles,
      byService: service?.roles.includes(SERVICE_ROLE) === true,
    };
  };
}

function unauthorized(keystone: string): ApiError {
  const headers = { 'www-authenticate': `Keystone uri="${keystone}"` };
  return new ApiError(401, 'The request you have made requires authentication.', { headers });
}

/** In place of a project in the path, where a client leaves it out. */
export const NO_PROJECT = '-';

export function projectOfPath({ params }: FastifyRequest): string {
  return (params as { project_id: string }).project_id;
}

function headerOf({ headers }: FastifyRequest, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}
