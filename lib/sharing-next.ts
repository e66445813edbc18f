/**
 * For work that tells, or makes durable, how things are: callers that come while it runs for their key share the next run, which begins after they came.
 * Many at once cost two runs, not one each.
 */
export function sharingNext<Result>(work: (key: string) => Promise<Result>): (key: string) => Promise<Result> {
  /** By key: the run under way, and the one that all who came later wait for. Entries live as long as a run does. */
  const queues = new Map<string, { running: Promise<Result>; next?: Promise<Result> }>();
  const start = (key: string): Promise<Result> => {
    const queue: { running: Promise<Result>; next?: Promise<Result> } = { running: work(key) };
    queue.running = queue.running.finally(() => {
      if (queues.get(key) === queue && queue.next === undefined) queues.delete(key);
    });
    queues.set(key, queue);
    return queue.running;
  };
  return async (key) => {
    const queue = queues.get(key);
    if (queue === undefined) return await start(key);
    queue.next ??= queue.running.then(
      () => start(key),
      () => start(key),
    );
    return await queue.next;
  };
}
