import { Failure } from '../../workflows/contract/failures';
import type { BackendName } from '../../workflows/contract/ids';
import type { SnapshotReader, SnapshotRef } from '../backends/backend';
import type { BackendDependencies } from '../dependencies';
import { backendHeld } from './backend-held';

/** Opens a snapshot to read it. @throws SnapshotNotFound; InvalidRequest where this worker cannot read the backend's snapshots (final); BackendUnavailable (retried). */
export async function openSnapshot(
  deps: BackendDependencies,
  name: BackendName,
  { snapshotId, volumeId }: SnapshotRef,
): Promise<SnapshotReader> {
  const reader = await backendHeld(deps, name).openSnapshotReader?.({ snapshotId, volumeId });
  if (reader !== undefined) return reader;
  const allowed = 'a backend whose volumes can be read on this host; `ivc doctor` tells what it lacks';
  throw new Failure('InvalidRequest', { field: 'backend', value: name, allowed });
}
