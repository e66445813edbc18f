import { randomUUID } from 'node:crypto';
import { workflowTypes } from '../workflows/contract/names';
import type { SetQuotasInput, SetQuotasResult } from '../workflows/contract/quotas';
import type { ImageVolumeCache } from './connection';
import { checkProjectId } from './project-id';
import { runWorkflow, type RunOptions } from './run-workflow';

/**
 * Sets quotas of a project, or of a class, for its next creates; existing volumes and snapshots stay.
 * @throws ImageVolumeCacheError `InvalidRequest`, `TemporalUnavailable`
 */
export async function setQuotas(
  cache: ImageVolumeCache,
  input: SetQuotasInput,
  options: Pick<RunOptions, 'signal'> = {},
): Promise<SetQuotasResult> {
  const { projectId, quotaClass } = input;
  if (projectId !== undefined) checkProjectId(projectId);
  const whose = projectId ?? `class:${quotaClass}`;
  const request = {
    type: workflowTypes.setQuotas,
    workflowId: cache.queues.ids.quotas(whose, randomUUID()),
    conflict: 'FAIL',
    input,
    summary: `quotas of ${projectId === undefined ? `class ${quotaClass}` : `project ${projectId}`}`,
  } as const;
  const { result } = await runWorkflow<SetQuotasResult, typeof options>(cache, request, { options });
  return result;
}
