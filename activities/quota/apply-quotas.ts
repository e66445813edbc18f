import { z } from 'zod';
import { writeQuotaClass, writeQuotas } from '../../db/quotas';
import type { ProjectId } from '../../workflows/contract/ids';
import {
  isTypeQuota,
  keptQuotaNames,
  quotaNames,
  type SetQuotasInput,
  type SetQuotasResult,
} from '../../workflows/contract/quotas';
import { MAX_NAME_CHARACTERS } from '../../workflows/contract/volume-changes';
import type { ControlDependencies } from '../dependencies';
import { boundedText, parseRequest, projectId } from '../kit/request';
import { workflowExecution } from '../kit/runs';

const allowed = 'a whole number from 0, null for no limit, or default';
const limit = z.union([z.int().min(0), z.null(), z.literal('default')], allowed);

const known: readonly string[] = [...quotaNames, ...keptQuotaNames];
/** Three of each of so many volume types. */
const MAX_QUOTAS = 4000;

const quotasSchema = z
  .strictObject({
    projectId: projectId.optional(),
    quotaClass: boundedText(MAX_NAME_CHARACTERS).optional(),
    quotas: z
      .record(
        z
          .string()
          .refine((name) => known.includes(name) || isTypeQuota(name), `${known.join(', ')}, volumes:<type>, …`),
        limit,
      )
      .refine((quotas) => Object.keys(quotas).length > 0, 'one quota at least')
      .refine((quotas) => Object.keys(quotas).length <= MAX_QUOTAS, `at most ${MAX_QUOTAS}`),
    by: boundedText(MAX_NAME_CHARACTERS).optional(),
  })
  .refine((given) => (given.projectId === undefined) !== (given.quotaClass === undefined), {
    path: ['projectId'],
    error: 'a project or, in its place, quotaClass',
  });

/** Sets quotas of a project or of a class, or takes back what was set. Idempotent. @throws InvalidRequest (final). */
export function createApplyQuotas(deps: ControlDependencies) {
  return async function applyQuotas(input: unknown): Promise<SetQuotasResult> {
    const { quotas: given, projectId: project, quotaClass, ...request } = parseRequest(quotasSchema, input);
    const quotas: SetQuotasInput['quotas'] = given;
    const source = workflowExecution();
    const change = { quotas, by: request.by ?? source.workflowId, source };
    if (quotaClass !== undefined)
      return { quotaClass, set: await writeQuotaClass(deps.database, { quotaClass, ...change }) };
    return {
      projectId: project,
      set: await writeQuotas(deps.database, { projectId: project as ProjectId, ...change }),
    };
  };
}
