import { log } from '@temporalio/workflow';
import type { BackendName, HostId } from '../contract/ids';
import { onBackend } from './activity-profiles';
import { findTimeout } from './failure';

/**
 * Runs `work` on a host that reaches the backend; when that host is lost (nobody polls its queue any more) `work` begins again on another one.
 * Ends only by `work`'s result, its failure, or the budget.
 */
export async function withHost<Result>(
  backend: BackendName,
  budgetMs: number | undefined,
  work: (hostId: HostId) => Promise<Result>,
): Promise<Result> {
  for (;;) {
    const { hostId } = await onBackend(backend, {
      summary: 'pick a host that reaches the backend',
      budgetMs,
    }).pickHost();
    try {
      return await work(hostId);
    } catch (error) {
      if (findTimeout(error) !== 'SCHEDULE_TO_START') throw error;
      log.warn('host lost, picking another', { hostId, backend });
    }
  }
}
