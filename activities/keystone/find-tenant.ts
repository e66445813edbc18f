import { z } from 'zod';
import { Failure } from '../../workflows/contract/failures';
import type { Identity } from './identity';
import type { TenantConfig } from './tenant-config';

/** A project and a user, by their ids. */
export interface Tenant {
  projectId: string;
  userId: string;
}

export interface FoundTenant extends Tenant {
  /** As people know them. */
  label: string;
  /** Part that our account may not see, and so was not checked; undefined: all was. */
  doubt: string | undefined;
}

const DEFAULT_DOMAIN_ID = 'default';

/**
 * Looks for the configured project and user in Keystone; one that is left out is our account's own, which needs no further right.
 * @throws Failure InvalidRequest, which names the field: there is no such project or user, it is disabled, or has no role there; as `Identity.read`.
 */
export async function findTenant(identity: Identity, config: TenantConfig): Promise<FoundTenant> {
  const own = await identity.readOwn();
  const project = await findOne(identity, {
    kind: 'project',
    own: own.project,
    id: config.projectId,
    name: config.projectName,
    domainId: config.projectDomainId,
  });
  const user = await findOne(identity, {
    kind: 'user',
    own: own.user,
    id: config.userId,
    name: config.userName,
    domainId: config.userDomainId,
  });
  const isOwn = project.id === own.project?.id && user.id === own.user.id;
  const doubts = [project.doubt, user.doubt, isOwn ? undefined : await checkRole(identity, { project, user })];
  return {
    projectId: project.id,
    userId: user.id,
    label: `user ${user.name} of project ${project.name}`,
    doubt: doubts.find((doubt) => doubt !== undefined),
  };
}

interface Wanted {
  kind: 'project' | 'user';
  own: { id: string; name: string; domain: { id?: string } } | undefined;
  id: string | undefined;
  name: string | undefined;
  domainId: string | undefined;
}

interface Found {
  id: string;
  name: string;
  doubt?: string;
}

const recordSchema = z.object({ id: z.string(), name: z.string(), enabled: z.boolean().default(true) });
const assignmentsSchema = z.object({ role_assignments: z.array(z.unknown()) });

async function findOne(identity: Identity, wanted: Wanted): Promise<Found> {
  const { kind, own, id, name, domainId = DEFAULT_DOMAIN_ID } = wanted;
  if (id === undefined && name === undefined) {
    if (own !== undefined) return own;
    throw invalid(`${kind}Id`, 'nothing', `a ${kind}, as our account has none of its own`);
  }
  // The holder of a token is enabled.
  if (own !== undefined && (id === own.id || (name === own.name && domainId === own.domain.id))) return own;
  return id === undefined ? await findByName(identity, wanted) : await findById(identity, { kind, id });
}

async function findById(identity: Identity, { kind, id }: { kind: Wanted['kind']; id: string }): Promise<Found> {
  const schema = z.object({ [kind]: recordSchema });
  const found = await identity.read(`/${kind}s/${encodeURIComponent(id)}`, schema);
  if (found === 'forbidden') return { id, name: id, doubt: `our account may not look up ${kind} ${id}` };
  const record = found === 'missing' ? undefined : found[kind];
  if (record === undefined) throw invalid(`${kind}Id`, id, `a ${kind} that is in Keystone`);
  return checkEnabled(record, { kind, field: `${kind}Id`, value: id });
}

async function findByName(identity: Identity, wanted: Wanted): Promise<Found> {
  const { kind, name = '', domainId = DEFAULT_DOMAIN_ID } = wanted;
  const query = new URLSearchParams({ name, domain_id: domainId });
  const field = `${kind}Name`;
  const schema = z.object({ [`${kind}s`]: z.array(recordSchema) });
  const found = await identity.read(`/${kind}s?${query.toString()}`, schema);
  if (found === 'forbidden')
    throw invalid(
      field,
      name,
      `the id in its place, or nothing for our account's own: an account that is no administrator may not look for ${kind}s`,
    );
  const record = found === 'missing' ? undefined : found[`${kind}s`]?.[0];
  if (record === undefined) throw invalid(field, name, `a ${kind} that is in domain ${domainId}`);
  return checkEnabled(record, { kind, field, value: name });
}

function checkEnabled(
  { id, name, enabled }: z.output<typeof recordSchema>,
  { kind, field, value }: { kind: string; field: string; value: string },
): Found {
  if (!enabled) throw invalid(field, `${value}, which is disabled`, `a ${kind} that is enabled`);
  return { id, name };
}

/** @returns what could not be checked. */
async function checkRole(
  identity: Identity,
  { project, user }: { project: Found; user: Found },
): Promise<string | undefined> {
  const query = new URLSearchParams({ 'user.id': user.id, 'scope.project.id': project.id, effective: '' });
  const found = await identity.read(`/role_assignments?${query.toString()}`, assignmentsSchema);
  if (found === 'forbidden') return `our account may not see the roles of user ${user.name} in project ${project.name}`;
  if (found !== 'missing' && found.role_assignments.length > 0) return undefined;
  throw invalid('userId', user.name, `a user with a role in project ${project.name}`);
}

function invalid(key: string, value: string, allowed: string): Failure {
  return new Failure('InvalidRequest', { field: `internalTenant.${key}`, value, allowed });
}
