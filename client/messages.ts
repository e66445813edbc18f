import type { Caller } from '../workflows/contract/event-kinds';
import type { DeleteMessageResult } from '../workflows/contract/message';
import { workflowTypes } from '../workflows/contract/names';
import type { ImageVolumeCache } from './connection';
import type { OfProject } from './inventory';
import { checkUuid } from './object-ids';
import { runWorkflow } from './run-workflow';

/** Nobody is told a message any more; its object stays. @throws ImageVolumeCacheError `MessageNotFound` */
export async function deleteMessage(
  cache: ImageVolumeCache,
  messageId: string,
  { projectId, by, requestId }: OfProject & Caller = {},
): Promise<DeleteMessageResult> {
  const id = checkUuid('messageId', messageId);
  const request = {
    type: workflowTypes.deleteMessage,
    workflowId: cache.queues.ids.deleteMessage(id, projectId),
    conflict: 'USE_EXISTING',
    input: { messageId: id, projectId, by, requestId },
    summary: `delete message ${id}`,
  } as const;
  const { result } = await runWorkflow<DeleteMessageResult, { wait?: true }>(cache, request, { options: {} });
  return result;
}
