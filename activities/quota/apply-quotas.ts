import { z } from 'zod';
import { writeQuotas } from '../../db/quotas';
import type { ProjectId } from '../../workflows/contract/ids';
import type { SetQuotasResult } from '../../workflows/contract/quotas';
import type { ControlDependencies } from '../dependencies';
import { boundedText, parseRequest, projectId } from '../kit/request';
import { workflowExecution } from '../kit/runs';

const allowed = 'a whole number from 0, null for no limit, or default';
const limit = z.union([z.int().min(0), z.null(), z.literal('default')], allowed).optional();

const quotasSchema = z.strictObject({
  projectId,
  quotas: z
    .strictObject({
      volumes: limit,
      snapshots: limit,
      bytes: limit,
      volumeBytes: limit,
      backups: limit,
      backupBytes: limit,
      groups: limit,
    })
    .refine((quotas) => Object.keys(quotas).length > 0, 'one quota at least'),
  by: boundedText(255).optional(),
});

/** Sets quotas of a project, or takes back what was set. Idempotent. @throws InvalidRequest (final). */
export function createApplyQuotas(deps: ControlDependencies) {
  return async function applyQuotas(input: unknown): Promise<SetQuotasResult> {
    const { quotas, ...request } = parseRequest(quotasSchema, input);
    const source = workflowExecution();
    const set = await writeQuotas(deps.database, {
      projectId: request.projectId as ProjectId,
      quotas,
      by: request.by ?? source.workflowId,
      source,
    });
    return { projectId: request.projectId, set };
  };
}
