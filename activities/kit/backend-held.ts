import { Failure } from '../../workflows/contract/failures';
import type { VolumeBackend } from '../backends/backend';
import type { ControlDependencies } from '../dependencies';

/** @throws BackendUnavailable when this worker does not hold the backend: another one of the queue may. */
export function backendHeld(deps: ControlDependencies, name: string): VolumeBackend {
  const backend = [...deps.backends.values()].find((candidate) => candidate.name === name);
  if (backend === undefined)
    throw new Failure('BackendUnavailable', { backend: name, cause: 'this worker does not hold it' });
  return backend;
}
