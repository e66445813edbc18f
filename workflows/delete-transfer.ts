/** `DeleteTransfer`: an offer of a volume ends; the volume stays. */
import { setCurrentDetails } from '@temporalio/workflow';
import type { DeleteTransferInput, TransferResult } from './contract/transfer';
import { inTask } from './lib/activity-profiles';
import { describeTransferRun } from './lib/change-details';
import { typed } from './lib/fail';

export async function DeleteTransfer(input: DeleteTransferInput): Promise<TransferResult> {
  const result = await typed(() => inTask({ summary: 'end the offer' }, (a) => a.deleteTransfer(input)));
  setCurrentDetails(describeTransferRun(result));
  return result;
}
