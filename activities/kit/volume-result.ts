import type { VolumeRow } from '../../db/types';
import { Failure } from '../../workflows/contract/failures';
import type { Story } from '../../workflows/contract/population';
import type { CreateVolumeResult } from '../../workflows/contract/volume';

/** @returns what the caller of a create gets, from the row of an available volume. @throws VolumeNotFound when the row was never completed (a bug shown as such). */
export function resultOf(
  volume: VolumeRow,
  { reason, bytesDownloaded, timingsMs }: Pick<Story, 'reason' | 'bytesDownloaded' | 'timingsMs'>,
): CreateVolumeResult {
  const { id, imageId, projectId, backend, name, sizeBytes, outcome, connection } = volume;
  if (sizeBytes === null || connection === null || outcome === null || outcome === 'refused')
    throw new Failure('VolumeNotFound', { volumeId: id });
  return {
    volumeId: id,
    imageId,
    projectId,
    backend,
    name,
    sizeBytes,
    outcome,
    reason,
    connection,
    bytesDownloaded,
    timingsMs,
  };
}
