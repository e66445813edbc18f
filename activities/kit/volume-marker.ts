import type { VolumeId } from '../../workflows/contract/ids';
import type { Admission } from '../../workflows/contract/population';
import type { VolumeMarker } from '../backends/backend';
import type { ControlDependencies } from '../dependencies';

/** What is written beside the volume on the backend, so that its row can be made again. */
export function markerOf(
  deps: ControlDependencies,
  { volumeId, admission }: { volumeId: VolumeId; admission: Admission },
  sizeBytes: number,
): VolumeMarker {
  const { projectId, name, cacheKey } = admission;
  return { kind: 'volume', installation: deps.installation, volumeId, projectId, name, sizeBytes, cacheKey };
}
