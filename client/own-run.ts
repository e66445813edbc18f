import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import { isOpenRun } from '../workflows/contract/run-status';
import type { ImageVolumeCache } from './connection';
import { failureError } from './errors';

/**
 * Looks whose run it is before it is signalled, joined or ended: what is open under this id on another task queue is another installation's.
 * @throws ImageVolumeCacheError `ForeignRun`
 */
export async function refuseForeignRun(
  client: Client,
  { queues }: ImageVolumeCache,
  workflowId: string,
): Promise<void> {
  const found = await findOpenQueue(client, workflowId);
  if (found !== undefined && found !== queues.control)
    throw failureError('ForeignRun', { workflowId, found, allowed: queues.control });
}

async function findOpenQueue(client: Client, workflowId: string): Promise<string | undefined> {
  try {
    const { status, taskQueue } = await client.workflow.getHandle(workflowId).describe();
    return isOpenRun(status.name) ? taskQueue : undefined;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}
