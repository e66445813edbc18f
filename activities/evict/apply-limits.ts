import { changeLimits } from '../../db/evictions/operator-limits';
import type { CacheLimitValues } from '../../workflows/contract/eviction';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName } from '../../workflows/contract/ids';
import type { ControlDependencies } from '../dependencies';
import { ANONYMOUS, type ChangeOutcome } from './apply-pin';
import { checkNotLate } from './check-not-late';

export interface LimitsRequest {
  backend: BackendName;
  /** Each of them valid by itself; what is left out stays. */
  limits: Partial<CacheLimitValues>;
  by?: string;
}

/** Sets limits on behalf of an operator: from then on the configuration leaves them alone. Idempotent. @throws InvalidRequest (final). */
export function createApplyLimits(deps: ControlDependencies) {
  return async function applyLimits({ backend, limits, by = ANONYMOUS }: LimitsRequest): Promise<ChangeOutcome> {
    await checkNotLate(deps);
    const changed = await changeLimits(deps.database, { backend, limits, by });
    if (changed.kind === 'unknown-backend')
      throw new Failure('InvalidRequest', { field: 'backend', value: backend, allowed: 'one that a worker holds' });
    if (changed.kind === 'low-above-high') {
      const { freeLowWater, freeHighWater } = changed;
      const value = `${freeLowWater} beside a freeHighWater of ${freeHighWater}`;
      throw new Failure('InvalidRequest', { field: 'freeLowWater', value, allowed: 'at most freeHighWater' });
    }
    const values = Object.entries(limits).map(([name, value]) => `${name} ${value ?? 'off'}`);
    return { outcome: 'done', summary: `set by ${by}: ${values.join(', ')}` };
  };
}
