import type { Semaphore } from './dependencies';

/** At most `places` at once, in the order of their coming. */
export function createSemaphore(places: number): Semaphore {
  const queue: Array<() => void> = [];
  let running = 0;
  return {
    async run(work, onWait) {
      if (running >= places) {
        onWait(queue.length + 1);
        await new Promise<void>((resolve) => queue.push(resolve));
      } else {
        running += 1;
      }
      try {
        return await work();
      } finally {
        // The place passes to the next one directly, so that nobody slips in between.
        const next = queue.shift();
        if (next) next();
        else running -= 1;
      }
    },
  };
}
