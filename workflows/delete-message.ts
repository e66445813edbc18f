/** `DeleteMessage`: a message about a failure is told no more. */
import { setCurrentDetails } from '@temporalio/workflow';
import { code } from './contract/markdown';
import type { DeleteMessageInput, DeleteMessageResult } from './contract/message';
import { inTask } from './lib/activity-profiles';
import { typed } from './lib/fail';

export async function DeleteMessage(input: DeleteMessageInput): Promise<DeleteMessageResult> {
  const result = await typed(() => inTask({ summary: 'note that it is deleted' }, (a) => a.deleteMessage(input)));
  setCurrentDetails(`message ${code(result.messageId)} is deleted`);
  return result;
}
