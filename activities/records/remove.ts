import { findVolume } from '../../db/queries/volumes';
import type { BackendName, VolumeId } from '../../workflows/contract/ids';
import type { BackendDependencies } from '../dependencies';
import { backendHeld } from './clone-volume';

/** Undo of a clone or a write: removes what was made of the volume, unless it became available after all; the absent is done. */
export function createRemoveVolume(deps: BackendDependencies, backend: BackendName) {
  return async function removeVolume({ volumeId }: { volumeId: VolumeId }): Promise<void> {
    // A completion whose answer was lost: the row has the last word, and its bytes stay.
    if ((await findVolume(deps.database, { volumeId }))?.state === 'available') return;
    await backendHeld(deps, backend).ensureVolumeAbsent(volumeId);
  };
}

/** Undo of a population's transfer: removes the image-volume and every attempt at it; the absent is done. */
export function createRemoveImageVolume(deps: BackendDependencies, backend: BackendName) {
  return async function removeImageVolume({ imageVolume }: { imageVolume: string }): Promise<void> {
    await backendHeld(deps, backend).ensureImageVolumeAbsent(imageVolume);
  };
}
