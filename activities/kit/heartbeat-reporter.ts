import { activityInfo, Context } from '@temporalio/activity';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { z } from 'zod';
import { Failure } from '../../workflows/contract/failures';
import { errorMessage } from '../../lib/error-message';
import type { Progress, ProgressReporter } from '../progress';

/** Progress as heartbeat details of the running activity: the UI's Pending Activities and the CLI's bar read them. */
export function createHeartbeatReporter(): ProgressReporter {
  // Bound now: a shared transfer reports to all its callers from the activity that began it.
  const activity = Context.current();
  const ownFailures = readOwnFailures();
  // Each heartbeat takes the place of the last one's details.
  const counted = ownFailures === 0 ? {} : { ownFailures };
  return {
    report: (progress) => activity.heartbeat({ ...progress, ...counted }),
    signal: activity.cancellationSignal,
  };
}

/** @returns what the running activity has heartbeaten last, in this try or in one before; an older version may have left fields out. */
export function lastHeartbeat<Details extends object>(): Partial<Details> {
  return (activityInfo().heartbeatDetails ?? {}) as Partial<Details>;
}

const countSchema = z.looseObject({ ownFailures: z.int().nonnegative() });

/** @returns how many of the running activity's earlier attempts have failed by themselves; see `givingUpAfter`. */
export function readOwnFailures(): number {
  const { heartbeatDetails } = activityInfo();
  const found = countSchema.safeParse(heartbeatDetails);
  return found.success ? found.data.ownFailures : 0;
}

/** A stage that tells nothing for a while must still heartbeat: well below the heartbeat timeout. */
const KEEP_ALIVE_MS = 3000;

/**
 * Runs `work`, whose progress begins with `first`; while it is silent, its last progress is told again, and for how
 * long it has been the last.
 */
export async function keepingAlive<Result>(
  reporter: ProgressReporter,
  first: Progress,
  work: (reporter: ProgressReporter) => Promise<Result>,
): Promise<Result> {
  let last = first;
  let lastAtMs = performance.now();
  const report = (progress: Progress): void => {
    last = progress;
    lastAtMs = performance.now();
    reporter.report(progress);
  };
  report(first);
  const timer = setInterval(() => reporter.report(silent(last, performance.now() - lastAtMs)), KEEP_ALIVE_MS);
  try {
    return await work({ signal: reporter.signal, report });
  } finally {
    clearInterval(timer);
  }
}

/** The same short step, which has nothing to tell but that its worker lives: a killed one is noticed as soon as in a long step. */
export function tellingThatItLives<Args extends unknown[], Result>(
  run: (...args: Args) => Promise<Result>,
): (...args: Args) => Promise<Result> {
  return async (...args) => {
    const activity = Context.current();
    const timer = setInterval(() => activity.heartbeat(), KEEP_ALIVE_MS);
    try {
      return await run(...args);
    } finally {
      clearInterval(timer);
    }
  };
}

/** @returns `last` as it is to be read after so long: a rate of the past would tell of bytes that do not come. */
export function silent(last: Progress, silentMs: number): Progress {
  const summary = last.summary.replace(/, [^,]+\/s(?:, [^,]+ left)?$/, '');
  return {
    ...last,
    summary: `${summary}; nothing new for ${Math.round(silentMs / 1000)} s`,
    ...(last.bytesPerSecond === undefined ? {} : { bytesPerSecond: 0 }),
  };
}

/** @returns what a caller waits for that may not run with `ahead` others at once. */
export function waitingForTurn(ahead: number, work: 'download' | 'conversion' | 'upload'): Progress {
  const others = ahead === 1 ? `another ${work}` : `${ahead} other ${work}s`;
  return { stage: 'waiting', summary: `waiting for ${others} of this host to end` };
}

/**
 * An activity whose own failures are final from the `tries`th on: a tool that fails so often will fail again, and so
 * will a bug. Workers that are lost, and services that are away, are not counted: they say nothing about the image. The
 * count is in the heartbeat details, which outlive an attempt.
 */
export function givingUpAfter<Input, Result>(
  tries: number,
  run: (input: Input) => Promise<Result>,
): (input: Input) => Promise<Result> {
  return async (input) => {
    try {
      return await run(input);
    } catch (error) {
      if (error instanceof CancelledFailure || !isOwnFault(error)) throw error;
      const ownFailures = readOwnFailures() + 1;
      const message = errorMessage(error);
      if (ownFailures < tries) {
        const summary = `${message}; failure ${ownFailures} of at most ${tries}`;
        Context.current().heartbeat({ stage: 'waiting', summary, ownFailures });
        throw error;
      }
      throw ApplicationFailure.create({
        type: error instanceof Failure ? error.type : 'Internal',
        message,
        details: [error instanceof Failure ? error.details : { cause: String(error) }],
        nonRetryable: true,
        cause: error instanceof Error ? error : undefined,
      });
    }
  };
}

function isOwnFault(error: unknown): boolean {
  if (!(error instanceof Failure)) return !(error instanceof Error && error.name === 'AbortError');
  return error.type === 'ToolFailed';
}
