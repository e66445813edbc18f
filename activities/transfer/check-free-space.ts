import { Failure } from '../../workflows/contract/failures';
import type { BackendName } from '../../workflows/contract/ids';
import type { ControlDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';

/** @throws NoSpace (final) when the backend cannot hold `neededBytes` more, before anything is written. */
export async function checkFreeSpace(deps: ControlDependencies, name: BackendName, neededBytes: number): Promise<void> {
  const { freeBytes } = await backendHeld(deps, name).space();
  if (neededBytes > freeBytes) throw new Failure('NoSpace', { backend: name, neededBytes, freeBytes });
}
