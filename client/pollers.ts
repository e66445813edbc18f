import type { Client } from '@temporalio/client';
import { temporal } from '@temporalio/proto';

const { TASK_QUEUE_TYPE_ACTIVITY, TASK_QUEUE_TYPE_WORKFLOW } = temporal.api.enums.v1.TaskQueueType;

/**
 * A worker that lives polls again within a minute; the server remembers one for five.
 * Source: `matching.longPollExpirationInterval` and `pollerHistoryTTL` of Temporal's server.
 */
const SILENT_MS = 75_000;

/** @returns the identities of the workers that poll a task queue of workflows, or of activities. */
export async function findPollers(
  client: Client,
  { taskQueue, of }: { taskQueue: string; of: 'workflows' | 'activities' },
): Promise<string[]> {
  const { pollers } = await client.workflowService.describeTaskQueue({
    namespace: client.options.namespace,
    taskQueue: { name: taskQueue },
    taskQueueType: of === 'workflows' ? TASK_QUEUE_TYPE_WORKFLOW : TASK_QUEUE_TYPE_ACTIVITY,
  });
  const isAlive = (seconds: unknown): boolean => Date.now() - Number(seconds ?? 0) * 1000 < SILENT_MS;
  return (pollers ?? []).flatMap(({ identity, lastAccessTime }) =>
    isAlive(lastAccessTime?.seconds) ? [identity ?? 'unknown'] : [],
  );
}
