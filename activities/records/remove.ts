import type { BackendName, VolumeId } from '../../workflows/contract/ids';
import type { BackendDependencies } from '../dependencies';
import { backendHeld } from './clone-volume';

/** Undo of a clone or a write: removes what was made of the volume; the absent is done. */
export function createRemoveVolume(deps: BackendDependencies, backend: BackendName) {
  return async function removeVolume({ volumeId }: { volumeId: VolumeId }): Promise<void> {
    await backendHeld(deps, backend).ensureVolumeAbsent(volumeId);
  };
}

/** Undo of a population's transfer: removes the image-volume and every attempt at it; the absent is done. */
export function createRemoveImageVolume(deps: BackendDependencies, backend: BackendName) {
  return async function removeImageVolume({ imageVolume }: { imageVolume: string }): Promise<void> {
    await backendHeld(deps, backend).ensureImageVolumeAbsent(imageVolume);
  };
}
