import type { Identity } from '../../../activities/keystone/identity';
import { findTenant } from '../../../activities/keystone/find-tenant';
import { maySeeProjects } from '../../../activities/keystone/project-check';
import type { ImageVolumeCache } from '../../connection';
import { asClientErrors, exitCodes, ImageVolumeCacheError, type ErrorType } from '../../errors';
import { fault, ok, skipped, warning, type DoctorFinding } from './check';

const CHECK = 'identity';

/** Our account at Keystone, if one is configured, with warnings; or why it does not work. */
export async function checkIdentity(cache: ImageVolumeCache): Promise<DoctorFinding[]> {
  try {
    const identity = cache.identity();
    if (identity === undefined) return [];
    const account = await asClientErrors(async () => await describeIdentity(identity));
    return [account, await checkTenant(identity, cache), await checkProjects(identity)];
  } catch (error) {
    return [describeTrouble(CHECK, error)];
  }
}

const TENANT = 'internal tenant';
const REMEDY =
  "leave internalTenant out, for our account's own project and user; or check by hand: `openstack role assignment list --names --user … --project …`";

async function checkTenant(identity: Identity, { settings }: ImageVolumeCache): Promise<DoctorFinding> {
  try {
    const { internalTenant } = settings.loaded.config;
    const { label, doubt } = await asClientErrors(async () => await findTenant(identity, internalTenant));
    if (doubt === undefined) return ok(TENANT, label);
    return warning(TENANT, `${label}; not checked: ${doubt}`, REMEDY);
  } catch (error) {
    return describeTrouble(TENANT, error);
  }
}

const PROJECTS = 'projects of creates';

/** That they are trusted as callers say is nobody's fault. */
async function checkProjects(identity: Identity): Promise<DoctorFinding> {
  try {
    const isSeen = await asClientErrors(async () => await maySeeProjects(identity));
    if (isSeen) return ok(PROJECTS, 'must be in Keystone and enabled');
    return skipped(PROJECTS, 'not checked: Keystone does not let our account look up projects (identity:get_project)');
  } catch (error) {
    return describeTrouble(PROJECTS, error);
  }
}

/** Clocks that differ by more make a certificate look invalid and a log unreadable. */
const MOST_CLOCK_SKEW_MS = 60_000;

async function describeIdentity(identity: Identity): Promise<DoctorFinding> {
  const { user, project, roles, clockAheadMs = 0 } = await identity.describeAccount();
  const endpoint = await identity.findImageEndpoint();
  const where = project === undefined ? 'without a project' : `in project ${project}`;
  const found = `${identity.service}: ${user} ${where}, roles ${roles.join(', ') || 'none'}; images at ${endpoint}`;
  if (identity.tls.rejectUnauthorized === false)
    return warning(CHECK, `${found}; certificates are not verified`, 'name a cacert in place of insecure');
  if (Math.abs(clockAheadMs) <= MOST_CLOCK_SKEW_MS) return ok(CHECK, found);
  const skew = `its clock is ${Math.round(Math.abs(clockAheadMs) / 1000)} s ${clockAheadMs > 0 ? 'ahead of' : 'behind'} ours`;
  return warning(CHECK, `${found}; ${skew}`, 'set both clocks by NTP; tokens are renewed in time all the same');
}

const remedies: Partial<Record<ErrorType, string>> = {
  InvalidRequest: 'correct the key that it names, in temporal.yaml, clouds.yaml, secure.yaml or the OS_* variables',
  CredentialsRefused:
    'correct the account there; `openstack token issue` with the same settings must work. Is its user enabled, with a role in its project?',
  IdentityUnavailable:
    'is auth_url right, and Keystone up? With a certificate of your own, name its authority as cacert',
};

/** Said to an operator: with whom and how it went wrong, which users are not told. */
function describeTrouble(check: string, error: unknown): DoctorFinding {
  if (!(error instanceof ImageVolumeCacheError)) throw error;
  const { type, message, details, exitCode } = error;
  const more = [details['account'], details['cause']].filter((part) => typeof part === 'string');
  const found = fault(check, [message, ...more].join('; '), remedies[type] ?? 'fix it, and `ivc doctor` again');
  return { ...found, unavailable: exitCode === exitCodes.unavailable };
}
