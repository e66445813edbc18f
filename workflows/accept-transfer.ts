/** `AcceptTransfer`: a volume that was offered becomes the accepting project's, with its snapshots. */
import { setCurrentDetails } from '@temporalio/workflow';
import type { AcceptTransferInput, TransferResult } from './contract/transfer';
import { inTask } from './lib/activity-profiles';
import { describeTransferRun } from './lib/change-details';
import { typed } from './lib/fail';

export async function AcceptTransfer(input: AcceptTransferInput): Promise<TransferResult> {
  const result = await typed(() =>
    inTask({ summary: 'give the volume to the project' }, (a) => a.acceptTransfer(input)),
  );
  setCurrentDetails(describeTransferRun(result));
  return result;
}
