import { Failure } from '../../workflows/contract/failures';
import type { Progress, ProgressReporter } from '../progress';
import type { DownloadedImage } from './download';
import { abortReason } from '../../lib/abort';

/** One running transfer a key; later callers share it. */
export interface SharedTransfers {
  /**
   * Starts the transfer or joins the one that runs; a final failure of that one is its own image's fault, so the caller starts its own then.
   * @throws what the transfer throws; the caller's own abort as its reason, at once while others stay.
   */
  join(
    key: string,
    reporter: ProgressReporter,
    transfer: (reporter: ProgressReporter) => Promise<DownloadedImage>,
  ): Promise<{ result: DownloadedImage; shared: boolean }>;
  /** Aborts the transfer of `key` for all its callers and waits until it has ended. */
  abort(key: string): Promise<void>;
  abortAll(): Promise<void>;
}

interface Running {
  callers: Set<ProgressReporter>;
  controller: AbortController;
  outcome: Promise<DownloadedImage>;
  /** The last progress report: a later caller gets it at once. */
  findProgress: () => Progress | undefined;
}

export function createSharedTransfers(): SharedTransfers {
  const running = new Map<string, Running>();

  const start = (key: string, transfer: (reporter: ProgressReporter) => Promise<DownloadedImage>): Running => {
    const callers = new Set<ProgressReporter>();
    const controller = new AbortController();
    let last: Progress | undefined;
    const reporter: ProgressReporter = {
      report: (progress) => {
        last = progress;
        callers.forEach((caller) => caller.report(progress));
      },
      signal: controller.signal,
    };
    const outcome = transfer(reporter).finally(() => running.delete(key));
    // Every caller hears of a failure; when all have left, nobody is there to.
    outcome.catch(() => undefined);
    const started = { callers, controller, outcome, findProgress: () => last };
    running.set(key, started);
    return started;
  };

  const abort = async (key: string): Promise<void> => {
    const transfer = running.get(key);
    if (transfer === undefined) return;
    transfer.controller.abort(new Error('the transfer was ended'));
    await transfer.outcome.catch(() => undefined);
  };

  return {
    async join(key, reporter, transfer) {
      for (;;) {
        reporter.signal.throwIfAborted();
        const found = running.get(key);
        if (found === undefined) return { result: await follow(start(key, transfer), reporter), shared: false };
        if (found.controller.signal.aborted) {
          await found.outcome.catch(() => undefined);
          continue;
        }
        try {
          return { result: await follow(found, reporter), shared: true };
        } catch (error) {
          if (reporter.signal.aborted || !isFinal(error)) throw error;
        }
      }
    },
    abort,
    async abortAll() {
      await Promise.all([...running.keys()].map(abort));
    },
  };
}

/** Waits for the transfer as one of its callers; the last one to leave aborts it and waits for its end. */
async function follow(
  { callers, controller, outcome, findProgress }: Running,
  reporter: ProgressReporter,
): Promise<DownloadedImage> {
  callers.add(reporter);
  const progress = findProgress();
  if (progress !== undefined) reporter.report(progress);
  const { signal } = reporter;
  let leave = (): void => undefined;
  const left = new Promise<never>((_resolve, reject) => {
    leave = () => {
      callers.delete(reporter);
      if (callers.size === 0) controller.abort(signal.reason);
      else reject(abortReason(signal));
    };
  });
  left.catch(() => undefined);
  signal.addEventListener('abort', leave, { once: true });
  try {
    return await Promise.race([outcome, left]);
  } finally {
    signal.removeEventListener('abort', leave);
    callers.delete(reporter);
  }
}

/** The same bytes may be the file of several images, of which one is gone or declared to be what it is not. */
function isFinal(error: unknown): boolean {
  return error instanceof Failure && error.isFinal;
}
