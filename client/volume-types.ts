import { randomUUID } from 'node:crypto';
import { workflowTypes } from '../workflows/contract/names';
import type { ChangeVolumeTypeInput, ChangeVolumeTypeResult } from '../workflows/contract/volume-type';
import type { ImageVolumeCache } from './connection';
import { checkUuid } from './object-ids';
import { runWorkflow, type RunOptions } from './run-workflow';

/**
 * Makes, changes or removes a volume type: for operators. Those of the configuration are changed there.
 * @throws ImageVolumeCacheError `VolumeTypeNotFound`; `InvalidRequest`, also for a name that is taken and for a type that volumes have.
 */
export async function changeVolumeType(
  cache: ImageVolumeCache,
  input: ChangeVolumeTypeInput,
  options: Pick<RunOptions, 'signal'> = {},
): Promise<ChangeVolumeTypeResult> {
  const { volumeTypeId, verb = 'change' } = input;
  checkUuid('volumeTypeId', volumeTypeId);
  const request = {
    type: workflowTypes.changeVolumeType,
    workflowId: cache.queues.ids.changeVolumeType(volumeTypeId, randomUUID()),
    conflict: 'USE_EXISTING',
    input,
    summary: `${verb} volume type ${input.name ?? volumeTypeId}`,
  } as const;
  const { result } = await runWorkflow<ChangeVolumeTypeResult, typeof options>(cache, request, { options });
  return result;
}
