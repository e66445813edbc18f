import { areWatermarksInOrder } from '../../workflows/contract/cache-limits';
import type { CacheLimitValues } from '../../workflows/contract/eviction';
import type { BackendName } from '../../workflows/contract/ids';
import type { Database } from '../client';
import { inTransaction } from '../statement';
import { findBackend, lockBackend, updateLimits } from '../backends';

export type LimitsOutcome =
  | { kind: 'changed' }
  | { kind: 'unknown-backend' }
  /** What they would be together. */
  | { kind: 'low-above-high'; freeLowWater: number; freeHighWater: number };

/** Sets some limits on behalf of `by` if they fit to those that stay, under the lock of the backend's row. Repeated it changes nothing. */
export async function changeLimits(
  database: Database,
  { backend, limits, by }: { backend: BackendName; limits: Partial<CacheLimitValues>; by: string },
): Promise<LimitsOutcome> {
  if ((await findBackend(database, { name: backend })) === undefined) return { kind: 'unknown-backend' };
  return await inTransaction(database, async (transaction) => {
    const row = await lockBackend(transaction, { name: backend });
    const { freeLowWater, freeHighWater } = { ...row, ...limits };
    // A pair that the configuration and an operator have made together stands in the way of no other limit.
    const isAsked = limits.freeLowWater !== undefined || limits.freeHighWater !== undefined;
    if (isAsked && !areWatermarksInOrder({ freeLowWater, freeHighWater }))
      return { kind: 'low-above-high', freeLowWater, freeHighWater };
    await updateLimits(transaction, { name: backend, limits, by });
    return { kind: 'changed' };
  });
}
