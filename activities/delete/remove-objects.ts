import { removeGivenUp } from '../../db/volumes';
import type { BackendName, VolumeId } from '../../workflows/contract/ids';
import type { BackendDependencies } from '../dependencies';
import { workflowExecution } from '../kit/workflow-execution';
import { backendHeld } from '../kit/backend-held';
import { goOnAfterReset } from '../kit/own-volume';

/**
 * Undo of a clone or a write: removes what was made of the volume; the absent is done. The row is fenced first, so that a late try of the step that is
 * undone cannot make a volume available whose bytes are removed here. One that became available before that stays.
 */
export function createRemoveVolume(deps: BackendDependencies, backend: BackendName) {
  return async function removeVolume({ volumeId }: { volumeId: VolumeId }): Promise<void> {
    const { runId } = workflowExecution();
    const held = backendHeld(deps, backend);
    const remove = () =>
      removeGivenUp(deps.database, { volumeId, runId, remove: () => held.ensureVolumeAbsent(volumeId) });
    if (!(await remove()) && (await goOnAfterReset(deps, volumeId))) await remove();
  };
}

/** Undo of a population's transfer: removes the image-volume and every attempt at it; the absent is done. */
export function createRemoveImageVolume(deps: BackendDependencies, backend: BackendName) {
  return async function removeImageVolume({ imageVolume }: { imageVolume: string }): Promise<void> {
    await backendHeld(deps, backend).ensureImageVolumeAbsent(imageVolume);
  };
}
