import { CancellationScope, setCurrentDetails } from '@temporalio/workflow';
import type { CreateVolumeResult } from '../contract/volume';
import { describeRefused } from './details';
import { failCancelled, findFailure, isCancelled, typed } from './fail';

/**
 * Admits a create. A cancel that comes meanwhile may find the row inserted: `withdraw` ends it, and says what is
 * complete after all. A refusal is told in the run's details.
 */
export async function admitOrWithdraw<Admitted>(
  admit: () => Promise<Admitted>,
  withdraw: () => Promise<CreateVolumeResult | undefined>,
): Promise<Admitted | { kind: 'available'; result: CreateVolumeResult }> {
  try {
    return await typed(admit);
  } catch (error) {
    if (isCancelled(error)) {
      const completed = await CancellationScope.nonCancellable(withdraw);
      if (completed) return { kind: 'available', result: completed };
      failCancelled(error);
    }
    const failure = findFailure(error);
    if (failure !== undefined) setCurrentDetails(describeRefused(failure));
    throw error;
  }
}
