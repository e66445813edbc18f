/** `ChangeAttachment`: changes the users of a volume, in the inventory alone: `reserved`, `attaching`, `in-use`, `detaching`, and back. */
import { setCurrentDetails } from '@temporalio/workflow';
import type { ChangeAttachmentInput, ChangeAttachmentResult } from './contract/attachment';
import { inTask } from './lib/activity-profiles';
import { describeHeld } from './lib/change-details';
import { typed } from './lib/fail';

export async function ChangeAttachment(input: ChangeAttachmentInput): Promise<ChangeAttachmentResult> {
  const step = { summary: 'change an attachment and the status of its volume' };
  const changed = await typed(() => inTask(step, (a) => a.changeAttachment(input)));
  setCurrentDetails(describeHeld(changed));
  return changed;
}
