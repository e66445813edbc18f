import { setTimeout as sleep } from 'node:timers/promises';
import type { ImageVolumeCache } from './connection';
import type { PollPace } from './poll-pace';
import { interruptible, reportingErrors, type StartedRun } from './run-workflow';

/** Most are seen by then. A run that is refused is in no inventory: from then on its end is waited for too. */
const POLLS_WITHOUT_END = 3;

/**
 * Waits until the inventory shows what a run does first, or until the run ends. @param find the result; undefined: it is not there yet. `isDone`:
 * the run has ended well. `pace`: of runs of its kind.
 * @throws ImageVolumeCacheError why the run failed before; `WaitInterrupted` when `signal` is aborted first.
 */
export async function untilSeen<Found>(
  cache: ImageVolumeCache,
  started: StartedRun,
  {
    find,
    pace,
    signal,
  }: { find: (isDone: boolean) => Promise<Found | undefined>; pace: PollPace; signal?: AbortSignal },
): Promise<Found> {
  const startedAtMs = performance.now();
  const seen = new AbortController();
  const waiting = signal === undefined ? seen.signal : AbortSignal.any([seen.signal, signal]);
  let end: Ended | undefined;
  let run: Promise<Ended> | undefined;
  let passedMs: number | undefined;
  try {
    for (let polls = 1; ; polls += 1) {
      if (polls === POLLS_WITHOUT_END || signal?.aborted === true)
        run ??= endOf(cache, started, waiting).then((ended) => (end = ended));
      await Promise.race([sleep(pace.pauseMs(passedMs)), ...(run ? [run] : [])]);
      // Read before the poll: a run that has ended has written before.
      const last = end;
      const found = await find(last !== undefined && last.failure === undefined);
      passedMs = performance.now() - startedAtMs;
      if (found !== undefined) {
        pace.found(passedMs, polls);
        return found;
      }
      if (last === undefined) continue;
      throw last.failure ?? new Error(`${started.workflowId} has ended, and the inventory does not show what it did`);
    }
  } finally {
    seen.abort();
  }
}

interface Ended {
  failure?: unknown;
}

function endOf(cache: ImageVolumeCache, { workflowId, runId }: StartedRun, signal: AbortSignal): Promise<Ended> {
  return reportingErrors(cache, workflowId, (client) =>
    interruptible(client, { workflowId, signal }, () => client.workflow.getHandle(workflowId, runId).result()),
  ).then(
    () => ({}),
    (failure: unknown) => ({ failure }),
  );
}
