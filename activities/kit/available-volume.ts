import type { VolumeRow } from '../../db/schema';
import type { ProjectScope } from '../../db/scope';
import { findVolume } from '../../db/volumes';
import { Failure } from '../../workflows/contract/failures';
import type { VolumeId } from '../../workflows/contract/ids';
import type { ControlDependencies } from '../dependencies';

/** @throws VolumeNotFound, VolumeDeleted; InvalidRequest for a volume in another state (final). */
export async function getAvailableVolume(
  { database }: ControlDependencies,
  { volumeId, scope }: { volumeId: VolumeId; scope: ProjectScope },
): Promise<VolumeRow & { sizeBytes: number }> {
  const volume = await findVolume(database, { volumeId, scope });
  if (volume === undefined) throw new Failure('VolumeNotFound', { volumeId });
  const { state, sizeBytes } = volume;
  if (state === 'deleting' || state === 'deleted') throw new Failure('VolumeDeleted', { volumeId });
  if (state === 'available' && sizeBytes !== null) return { ...volume, sizeBytes };
  const value = `${volumeId}, which is ${state}`;
  throw new Failure('InvalidRequest', { field: 'volumeId', value, allowed: 'a volume that is available' });
}
