import { z } from 'zod';
import type { BackendName, HostId } from '../../workflows/contract/ids';
import type { ControlDependencies } from '../dependencies';
import { boundedText, parseRequest, chooseBackend } from '../kit/request';
import { listScratchHosts } from '../../db/scratch-files';

const reconcileSchema = z.strictObject({
  backend: boundedText(40).optional(),
  dryRun: z.boolean('true or false').optional(),
  adopt: z.boolean('true or false').optional(),
  scrub: z.boolean('true or false').optional(),
});

export interface ReconcilePlan {
  backend: BackendName;
  dryRun: boolean;
  adopt: boolean;
  scrub: boolean;
  /** Hosts whose scratch the inventory knows. */
  hosts: HostId[];
}

/** @returns what is to be compared. @throws InvalidRequest naming the first field that is wrong (final). */
export function createPlanReconcile(deps: ControlDependencies) {
  return async function planReconcile(input: unknown): Promise<ReconcilePlan> {
    const { backend, dryRun = false, adopt = false, scrub = false } = parseRequest(reconcileSchema, input ?? {});
    const chosen = chooseBackend(deps, backend);
    return { backend: chosen, dryRun, adopt, scrub, hosts: await listScratchHosts(deps.database) };
  };
}
