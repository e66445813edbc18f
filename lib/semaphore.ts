import { abortReason } from './abort';

export interface SemaphoreWait {
  onWait(ahead: number): void;
  signal: AbortSignal;
}

export interface Semaphore {
  /** How many run or wait. */
  count(): number;
  /** Whether a further one has to wait. */
  isFull(): boolean;
  /** Runs `work` when a place is free; `onWait` hears how many are ahead. @throws the signal's reason when it is aborted while it waits. */
  run<Result>(work: () => Promise<Result>, waiting: SemaphoreWait): Promise<Result>;
}

/** At most `places` at once, in the order of their coming. */
export function createSemaphore(places: number): Semaphore {
  const queue = new Set<() => void>();
  let running = 0;

  const enter = async (waiting: SemaphoreWait): Promise<void> => {
    const { signal } = waiting;
    signal.throwIfAborted();
    if (running < places) {
      running += 1;
      return;
    }
    waiting.onWait(queue.size + 1);
    await new Promise<void>((resolve, reject) => {
      const giveUp = (): void => {
        queue.delete(take);
        reject(abortReason(signal));
      };
      const take = (): void => {
        signal.removeEventListener('abort', giveUp);
        resolve();
      };
      queue.add(take);
      signal.addEventListener('abort', giveUp, { once: true });
    });
  };

  /** The place passes to the next one directly, so that nobody slips in between. */
  const leave = (): void => {
    const [next] = queue;
    if (next === undefined) {
      running -= 1;
      return;
    }
    queue.delete(next);
    next();
  };

  return {
    count: () => running + queue.size,
    isFull: () => running === places,
    async run(work, waiting) {
      await enter(waiting);
      try {
        return await work();
      } finally {
        leave();
      }
    },
  };
}
