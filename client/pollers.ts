import { isGrpcServiceError, type Client } from '@temporalio/client';
import { temporal } from '@temporalio/proto';
import { status as grpcStatus } from '@grpc/grpc-js';

const { TASK_QUEUE_TYPE_ACTIVITY, TASK_QUEUE_TYPE_WORKFLOW } = temporal.api.enums.v1.TaskQueueType;
const { WORKER_STATUS_RUNNING } = temporal.api.enums.v1.WorkerStatus;

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
  const [{ pollers }, gone] = await Promise.all([
    client.workflowService.describeTaskQueue({
      namespace: client.options.namespace,
      taskQueue: { name: taskQueue },
      taskQueueType: of === 'workflows' ? TASK_QUEUE_TYPE_WORKFLOW : TASK_QUEUE_TYPE_ACTIVITY,
    }),
    findGone(client, taskQueue),
  ]);
  return (pollers ?? []).flatMap(({ identity, lastAccessTime }) =>
    Date.now() - toMs(lastAccessTime) < SILENT_MS && !gone.has(identity ?? '') ? [identity ?? 'unknown'] : [],
  );
}

/** One that misses the beat twice has ended. */
const MISSED_BEATS = 2.5;
/** More workers of one task queue are not looked at. */
const MOST_WORKERS = 1000;

/**
 * A worker that stops says so, and one that is killed falls silent: the server still counts both as pollers for a while.
 * @returns their identities; none where the server keeps no heartbeats of workers, as older ones do not.
 */
async function findGone(client: Client, taskQueue: string): Promise<Set<string>> {
  const { workersInfo } = await listWorkers(client, taskQueue);
  const beats = workersInfo.flatMap(({ workerHeartbeat }) => workerHeartbeat ?? []);
  const living = beats.filter(({ status, heartbeatTime, elapsedSinceLastHeartbeat }) => {
    // The first one has no other before it.
    const intervalMs = toMs(elapsedSinceLastHeartbeat) || SILENT_MS;
    return status === WORKER_STATUS_RUNNING && Date.now() - toMs(heartbeatTime) < MISSED_BEATS * intervalMs;
  });
  const gone = new Set(beats.map(({ workerIdentity }) => workerIdentity ?? ''));
  for (const { workerIdentity } of living) gone.delete(workerIdentity ?? '');
  return gone;
}

async function listWorkers(client: Client, taskQueue: string) {
  try {
    const query = `TaskQueue = '${taskQueue}'`;
    const { namespace } = client.options;
    return await client.workflowService.listWorkers({ namespace, query, pageSize: MOST_WORKERS });
  } catch (error) {
    if (isGrpcServiceError(error) && unanswered.includes(error.code)) return { workersInfo: [] };
    throw error;
  }
}

const unanswered = [grpcStatus.UNIMPLEMENTED, grpcStatus.PERMISSION_DENIED, grpcStatus.INVALID_ARGUMENT];

/** Of a time, or of a duration. */
function toMs(at: { seconds?: unknown; nanos?: number | null } | null | undefined): number {
  return Number(at?.seconds ?? 0) * 1000 + (at?.nanos ?? 0) / 1_000_000;
}
