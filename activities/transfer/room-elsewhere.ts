import { temporal } from '@temporalio/proto';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName } from '../../workflows/contract/ids';
import type { HostDependencies } from '../dependencies';

/** Beyond this many moves the time that a transfer waits on a host grows no further. */
const MAX_DOUBLINGS = 6;
const QUESTION_TIMEOUT_MS = 5000;

/** Ends a wait for room on this host: another host may have some. */
class RoomElsewhere extends Error {
  constructor() {
    super('this host has no room in its scratch, another host may have some');
  }
}

export interface MovableTransfer {
  backend: BackendName;
  /**
   * How often it has gone on to another host already: each time it waits twice as long, so that it does not wander for
   * ever.
   */
  moves: number;
}

/**
 * A signal that is aborted with `RoomElsewhere` when `scratch.moveAfter` is over and another worker reaches the
 * backend. Where there is none, the transfer keeps its place in the queue, and the workers are counted again after the
 * same time.
 */
export function startPatience(
  deps: HostDependencies,
  { backend, moves }: MovableTransfer,
): { signal: AbortSignal; end(): void } {
  const controller = new AbortController();
  const waitMs = deps.config.scratch.moveAfter * 2 ** Math.min(moves, MAX_DOUBLINGS);
  const moveIfPossible = async (): Promise<void> => {
    if ((await countWorkers(deps, backend)) > 1) controller.abort(new RoomElsewhere());
  };
  // When the server does not answer now, the next time it may.
  const timer = setInterval(() => void moveIfPossible().catch(() => undefined), waitMs);
  return { signal: controller.signal, end: () => clearInterval(timer) };
}

/**
 * Whether a transfer that could not be brought here goes on to another host. One host's disk that is full now is left
 * once: a transfer that has moved already stays, and is retried. A scratch that can never hold the image is left as
 * long as there are others that it has not tried.
 */
export async function mayMove(
  deps: HostDependencies,
  { backend, moves }: MovableTransfer,
  error: unknown,
): Promise<boolean> {
  if (error instanceof RoomElsewhere) return true;
  if (!(error instanceof Failure)) return false;
  if (error.type === 'ScratchFull') return moves === 0 && (await countWorkers(deps, backend)) > 1;
  return error.type === 'ScratchTooSmall' && moves + 1 < (await countWorkers(deps, backend));
}

/** @returns how many processes poll the backend's queue, which is where hosts are picked. */
async function countWorkers({ temporal: client, queues }: HostDependencies, backend: BackendName): Promise<number> {
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
