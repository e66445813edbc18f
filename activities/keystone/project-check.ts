import { z } from 'zod';
import { Failure, isFailure } from '../../workflows/contract/failures';
import { quote } from '../../workflows/contract/words';
import type { Identity } from './identity';

/**
 * Checks that a project is in Keystone and enabled. Where our account may not look, every project passes.
 * @throws Failure InvalidRequest `projectId` (final); IdentityUnavailable, CredentialsRefused (retried).
 */
export type ProjectCheck = (projectId: string) => Promise<void>;

/** A passed check is believed for so long, of so many projects: creates do not wait for Keystone. */
const BELIEVED_MS = 60_000;
const MOST_BELIEVED = 1000;

/** While Keystone does not answer, what it has said last of a project holds. */
export function createProjectCheck(
  identity: Pick<Identity, 'read'>,
  { believedMs = BELIEVED_MS }: { believedMs?: number } = {},
): ProjectCheck {
  const passed = new Map<string, number>();
  return async (projectId) => {
    const passedAtMs = passed.get(projectId);
    if (passedAtMs !== undefined && performance.now() - passedAtMs < believedMs) return;
    try {
      await requireProject(identity, projectId);
    } catch (error) {
      const isRefused = isFailure(error, 'InvalidRequest');
      if (!isRefused && passedAtMs !== undefined) return;
      if (isRefused) passed.delete(projectId);
      throw error;
    }
    // The first of the map is the one that passed the longest ago.
    passed.delete(projectId);
    passed.set(projectId, performance.now());
    const [oldest] = passed.keys();
    if (passed.size > MOST_BELIEVED && oldest !== undefined) passed.delete(oldest);
  };
}

/** @returns whether our account may look up projects that are not its own. @throws Failure as `Identity.read`. */
export async function maySeeProjects(identity: Pick<Identity, 'read'>): Promise<boolean> {
  return (await identity.read(`/projects/${NO_PROJECT}`, projectSchema)) !== 'forbidden';
}

const NO_PROJECT = '0'.repeat(32);
const projectSchema = z.object({ project: z.object({ enabled: z.boolean().default(true) }) });
/** Keystone's ids are hexadecimal; nothing else becomes part of a path. */
const idPattern = /^[A-Za-z0-9_-]+$/;

async function requireProject(identity: Pick<Identity, 'read'>, projectId: string): Promise<void> {
  const found = idPattern.test(projectId) ? await identity.read(`/projects/${projectId}`, projectSchema) : 'missing';
  if (found === 'forbidden' || (found !== 'missing' && found.project.enabled)) return;
  const [value, allowed] =
    found === 'missing'
      ? [quote(projectId), 'the id of a project that is in Keystone']
      : [`${projectId}, which is disabled`, 'a project that is enabled'];
  throw new Failure('InvalidRequest', { field: 'projectId', value, allowed });
}
