import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { WorkflowIdConflictPolicy } from '@temporalio/common';
import { followingSignal } from '../lib/abort';
import { unlessThrown } from '../lib/unless-thrown';
import { text } from '../workflows/contract/markdown';
import type { BackendName } from '../workflows/contract/ids';
import type { workflowTypes } from '../workflows/contract/names';
import { isOpenRun } from '../workflows/contract/run-status';
import type { ImageVolumeCache } from './connection';
import { failureError, ImageVolumeCacheError } from './errors';
import { toImageVolumeCacheError } from './temporal-errors';

/** A run that goes on, whether or not anybody waits for it. */
export interface StartedRun {
  workflowId: string;
  runId: string;
}

export interface RunRequest<Input> {
  type: (typeof workflowTypes)[keyof typeof workflowTypes];
  workflowId: string;
  /** The policy for an open run of this id. */
  conflict: WorkflowIdConflictPolicy;
  input: Input;
  /** Shown in the Temporal UI. */
  summary: string;
}

export interface RunOptions {
  /** Default: true. */
  wait?: boolean;
  /** Ends the waiting, not the work. */
  signal?: AbortSignal;
}

/** `Started` where the caller does not wait, else `Done`; either where only the run time knows. */
export type Waited<Started, Done, Options extends { wait?: boolean }> = Options extends { wait: false }
  ? Started
  : 'wait' extends keyof Options
    ? Options extends { wait?: true }
      ? Done
      : Started | Done
    : Done;

export type Ran<Result, Options extends RunOptions> = Waited<StartedRun, StartedRun & { result: Result }, Options>;

/**
 * Starts a workflow and waits for its result. @param watch what runs while it is waited for; it is stopped after.
 * @throws ImageVolumeCacheError; `WaitInterrupted` when the signal is aborted: the work goes on.
 */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller knows what a workflow of its type answers.
export async function runWorkflow<Result, Options extends RunOptions = RunOptions>(
  cache: ImageVolumeCache,
  { type, workflowId, conflict, input, summary }: RunRequest<unknown>,
  { options, watch }: { options: Options; watch?: (run: StartedRun) => Promise<{ stop(): Promise<void> }> },
): Promise<Ran<Result, Options>> {
  return await reportingErrors(cache, workflowId, async (client) => {
    await refuseForeignRun(client, cache, workflowId);
    const handle = await client.workflow.start<(input: unknown) => Promise<Result>>(type, {
      workflowId,
      taskQueue: cache.queues.control,
      workflowIdReusePolicy: 'ALLOW_DUPLICATE',
      workflowIdConflictPolicy: conflict,
      staticSummary: text(summary),
      args: [input],
    });
    const started: StartedRun = { workflowId, runId: handle.firstExecutionRunId };
    if (options.wait === false) return started as Ran<Result, Options>;
    const watching = await watch?.(started);
    try {
      const { signal } = options;
      const result = await interruptible(client, { workflowId, signal }, () => handle.result());
      return { ...started, result } as unknown as Ran<Result, Options>;
    } finally {
      await watching?.stop();
    }
  });
}

/** Runs `wait` until `signal` is aborted, which ends the requests of this client and nothing else. */
export async function interruptible<T>(
  client: Client,
  { workflowId, signal, projectId }: { workflowId: string; signal?: AbortSignal; projectId?: string },
  wait: () => Promise<T>,
): Promise<T> {
  if (signal === undefined) return await wait();
  try {
    return await client.withAbortSignal(followingSignal(signal), wait);
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new ImageVolumeCacheError({
      type: 'WaitInterrupted',
      message: `no longer waiting for ${workflowId}, which goes on`,
      ...(projectId !== undefined && { details: { projectId } }),
      workflowId,
      cause: error,
    });
  }
}

/** Runs `work` with the Temporal client. @throws ImageVolumeCacheError, whatever was thrown. */
export async function reportingErrors<T>(
  cache: ImageVolumeCache,
  workflowId: string | undefined,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  try {
    return await work(await cache.temporal());
  } catch (error) {
    throw toImageVolumeCacheError(error, { temporal: cache.settings.address ?? '', workflowId });
  }
}

/**
 * Checks a run before it is signalled, joined or ended: an open run of this id on another task queue belongs to another
 * installation.
 * @throws ImageVolumeCacheError `ForeignRun`
 */
export async function refuseForeignRun(
  client: Client,
  { queues }: ImageVolumeCache,
  workflowId: string,
): Promise<void> {
  const run = await unlessThrown(WorkflowNotFoundError, client.workflow.getHandle(workflowId).describe());
  if (run !== undefined && isOpenRun(run.status.name) && run.taskQueue !== queues.control)
    throw failureError('ForeignRun', { workflowId, found: run.taskQueue, allowed: queues.control });
}

/** @returns the backend that is meant: by default that of the configuration. */
export function backendOf({ settings }: ImageVolumeCache, backend: string | undefined): BackendName {
  return (backend ?? settings.loaded.config.defaultBackend) as BackendName;
}
