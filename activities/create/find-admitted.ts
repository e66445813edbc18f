import { findVolume } from '../../db/volumes';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, VolumeId } from '../../workflows/contract/ids';
import type { CreateVolumeInput } from '../../workflows/contract/volume';
import type { ControlDependencies } from '../dependencies';
import { workflowExecution } from '../kit/workflow-execution';
import { goOnAfterReset } from '../kit/own-volume';
import { parseCreateVolumeRequest, volumeIdOf } from './create-volume-request';

/** @returns the volume that this very run has admitted and not undone; null when its admission inserted nothing. */
export function createFindAdmitted(deps: ControlDependencies) {
  return async function findAdmitted(input: unknown): Promise<{ volumeId: VolumeId; backend: BackendName } | null> {
    const { workflowId } = workflowExecution();
    const request = findRequest(input);
    if (request === undefined) return null;
    const volumeId = volumeIdOf(workflowId, request, deps.queues.prefix);
    await goOnAfterReset(deps, volumeId);
    const row = await findVolume(deps.database, { volumeId });
    const isOwn = row?.workflowId === workflowId && ['creating', 'available', 'deleting'].includes(row.state);
    return isOwn ? { volumeId, backend: row.backend } : null;
  };
}

/** @returns undefined for what is no valid request: that was never admitted. */
function findRequest(input: unknown): CreateVolumeInput | undefined {
  try {
    return parseCreateVolumeRequest(input);
  } catch (error) {
    if (error instanceof Failure) return undefined;
    throw error;
  }
}
