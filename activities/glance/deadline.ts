export interface Deadline {
  ms: number;
  /** What is thrown when the time is over. */
  late: Error;
  /** The caller's own abort, thrown as its reason. */
  signal?: AbortSignal;
}

/** Runs `work` with a signal that aborts after `ms` or with the caller's; leaves neither timer nor listener behind. */
export async function withDeadline<T>(
  { ms, late, signal }: Deadline,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal?.throwIfAborted();
  const controller = new AbortController();
  const abort = (): void => controller.abort(signal?.reason);
  const timer = setTimeout(() => controller.abort(late), ms);
  signal?.addEventListener('abort', abort, { once: true });
  try {
    return await work(controller.signal);
  } catch (error) {
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
  }
}
