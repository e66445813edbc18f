import type { PromiseLimit } from '../../db/room';
import type { BackendName } from '../../workflows/contract/ids';
import type { ControlDependencies } from '../dependencies';

/** @returns what all volumes of a backend may grow to together: it is known before anything is made. */
export async function promiseLimitOf(deps: ControlDependencies, backend: BackendName): Promise<PromiseLimit> {
  const space = await deps.backends.get(backend)?.space();
  const overSubscription = deps.config.backends[backend]?.maxOverSubscription ?? 1;
  return { overSubscription, totalBytes: space?.totalBytes };
}
