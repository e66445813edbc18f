/** `CreateTransfer`: a volume is offered to the project that knows the offer's key. */
import { setCurrentDetails } from '@temporalio/workflow';
import type { CreateTransferInput, TransferResult } from './contract/transfer';
import { inTask } from './lib/activity-profiles';
import { describeTransferRun } from './lib/change-details';
import { typed } from './lib/fail';

export async function CreateTransfer(input: CreateTransferInput): Promise<TransferResult> {
  const result = await typed(() => inTask({ summary: 'offer the volume' }, (a) => a.createTransfer(input)));
  setCurrentDetails(describeTransferRun(result));
  return result;
}
