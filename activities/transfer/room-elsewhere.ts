import { temporal } from '@temporalio/proto';
import type { BackendName } from '../../workflows/contract/ids';
import type { HostDependencies } from '../dependencies';

/** Beyond this many moves the time that a transfer waits on a host grows no further. */
const MAX_DOUBLINGS = 6;
const QUESTION_TIMEOUT_MS = 5000;

/** Ends a wait for room on this host: another host may have some. */
export class RoomElsewhere extends Error {
  constructor() {
    super('this host has no room in its scratch, another one may have some');
  }
}

export interface MovableTransfer {
  backend: BackendName;
  /** How often it has gone on to another host already: each time it waits twice as long, so that it does not wander for ever. */
  moves: number;
}

/**
 * A signal that is aborted with `RoomElsewhere` when `scratch.moveAfter` is over and another worker reaches the backend. Where there is none, who waits
 * keeps its place in the queue, and it is looked again after the same time.
 */
export function startPatience(
  deps: HostDependencies,
  { backend, moves }: MovableTransfer,
): { signal: AbortSignal; end(): void } {
  const controller = new AbortController();
  const waitMs = deps.config.scratch.moveAfter * 2 ** Math.min(moves, MAX_DOUBLINGS);
  const look = async (): Promise<void> => {
    if ((await countWorkers(deps, backend)) > 1) controller.abort(new RoomElsewhere());
  };
  // A server that does not answer now is asked again the next time.
  const timer = setInterval(() => void look().catch(() => undefined), waitMs);
  return { signal: controller.signal, end: () => clearInterval(timer) };
}

/** @returns how many processes poll the backend's queue, which is where hosts are picked. */
export async function countWorkers(
  { temporal: client, queues }: HostDependencies,
  backend: BackendName,
): Promise<number> {
  const { namespace } = client.options;
  const question = {
    namespace,
    taskQueue: { name: queues.backend(backend) },
    taskQueueType: temporal.api.enums.v1.TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
  };
  const { pollers } = await client.withDeadline(Date.now() + QUESTION_TIMEOUT_MS, () =>
    client.workflowService.describeTaskQueue(question),
  );
  return new Set((pollers ?? []).map(({ identity }) => identity)).size;
}
