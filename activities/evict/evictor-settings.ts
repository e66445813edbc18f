import { findBackend } from '../../db/backends';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName } from '../../workflows/contract/ids';
import type { ControlDependencies } from '../dependencies';

/** How often the backend's evictor sweeps, in milliseconds; null: only when asked. @throws InvalidRequest for a backend that nobody knows (final). */
export function createReadEvictorSettings({ config, database }: ControlDependencies) {
  return async function readEvictorSettings({
    backend,
  }: {
    backend: BackendName;
  }): Promise<{ sweepIntervalMs: number | null }> {
    const configured = Object.keys(config.backends);
    if (!configured.includes(backend) && (await findBackend(database, { name: backend })) === undefined)
      throw new Failure('InvalidRequest', { field: 'backend', value: backend, allowed: configured.join(', ') });
    const { evict } = config.schedules;
    return { sweepIntervalMs: evict === 'off' ? null : evict };
  };
}
