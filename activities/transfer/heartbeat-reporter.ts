import { cancellationSignal, heartbeat } from '@temporalio/activity';
import type { ProgressReporter } from '../progress';

/** Progress as heartbeat details of the running activity: the UI's Pending Activities and the CLI's bar read them. */
export function createHeartbeatReporter(): ProgressReporter {
  return { report: (progress) => heartbeat(progress), signal: cancellationSignal() };
}

/** A stage that tells nothing for a while must still heartbeat: well below the heartbeat timeout. */
const KEEP_ALIVE_MS = 3000;

/** Runs `work`, repeating the last progress while it is silent. */
export async function keepingAlive<Result>(
  reporter: ProgressReporter,
  work: (reporter: ProgressReporter) => Promise<Result>,
): Promise<Result> {
  let last: Parameters<ProgressReporter['report']>[0] | undefined;
  const timer = setInterval(() => {
    if (last) reporter.report(last);
  }, KEEP_ALIVE_MS);
  try {
    return await work({
      signal: reporter.signal,
      report: (progress) => {
        last = progress;
        reporter.report(progress);
      },
    });
  } finally {
    clearInterval(timer);
  }
}
