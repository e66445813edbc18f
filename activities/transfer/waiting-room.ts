import { Failure } from '../../workflows/contract/failures';
import type { HostDependencies } from '../dependencies';

/**
 * Waits for room in the scratch as one of a limited number. What gives room back needs a slot of the same queue, which those who wait must leave free:
 * a further one comes again later. @throws ScratchFull (retried), and whatever `wait` throws.
 */
export async function inWaitingRoom<Result>(
  { hostId, waitingRoom }: HostDependencies,
  { neededBytes, signal }: { neededBytes: number; signal: AbortSignal },
  wait: () => Promise<Result>,
): Promise<Result> {
  if (waitingRoom.isFull()) throw new Failure('ScratchFull', { host: hostId, neededBytes, freeBytes: 0 });
  return await waitingRoom.run(wait, { onWait: () => undefined, signal });
}
