import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { temporal } from '@temporalio/proto';
import { z } from 'zod';
import type { Progress } from '../activities/progress';
import { followingSignal } from '../lib/abort';
import { workflowTypes } from '../workflows/contract/names';
import { describeRemedy } from '../workflows/contract/unserved';
import type { ImageVolumeCache } from './connection';
import { findPollers } from './pollers';
import { reportingErrors, type StartedRun } from './run-workflow';

/** Progress of a create: its own stage and, where bytes move, the work of it or of the flight that it waits for. */
export interface CreateReport {
  stage: string;
  backend?: string;
  /** The population that the create waits for. */
  flightWorkflowId?: string;
  /** The last progress of the running activity. */
  work?: Progress;
}

interface Run extends StartedRun {
  taskQueue: string;
}

export interface WatchRequest extends Run {
  onProgress: (report: CreateReport) => void;
}

/** A hit is done before its progress is read. */
const POLL_INTERVAL_MS = 250;
/** A read of the progress may take this long; then the next one follows. */
const POLL_TIMEOUT_MS = 3000;
/** A query waits for a worker; where none is, it waits so long. */
const QUERY_TIMEOUT_MS = 1500;

const createProgressSchema = z.looseObject({
  stage: z.string(),
  backend: z.string().optional(),
  flightWorkflowId: z.string().optional(),
});

const progressSchema: z.ZodType<Progress> = z.object({
  stage: z.enum([
    'waiting',
    'downloading',
    'uploading',
    'verifying',
    'inspecting',
    'converting',
    'sealing',
    'answering',
    'cloning',
    'undoing',
  ]),
  summary: z.string(),
  bytesDone: z.number().optional(),
  bytesTotal: z.number().optional(),
  bytesPerSecond: z.number().optional(),
});

/**
 * Reads the progress of a create at most four times a second, from Temporal alone, and reports changes. Errors are not
 * reported; nothing is thrown.
 */
export function watchCreate(client: Client, { onProgress, ...run }: WatchRequest): { stop(): Promise<void> } {
  return watching(client, { read: () => readCreate(client, run), onProgress });
}

/** The same for a run whose activities tell all that there is of it. @param request.stage while none has said anything. */
export function watchWork(
  client: Client,
  {
    workflowId,
    stage,
    onProgress,
  }: Pick<StartedRun, 'workflowId'> & { stage: string; onProgress: (report: CreateReport) => void },
): { stop(): Promise<void> } {
  const read = async (): Promise<CreateReport> => {
    const work = await findWork(client, workflowId);
    return { stage, ...(work && { work }) };
  };
  return watching(client, { read, onProgress });
}

/** Reads the progress until it is stopped, and reports changes. */
export function watching<Report>(
  client: Client,
  { read, onProgress }: { read: () => Promise<Report | undefined>; onProgress?: (report: Report) => void },
): { stop(): Promise<void> } {
  const stopped = new AbortController();
  let last = '';
  const polling = (async () => {
    for (;;) {
      await delay(POLL_INTERVAL_MS, undefined, { signal: stopped.signal }).catch(() => undefined);
      if (stopped.signal.aborted) return;
      const report = await bounded(client, stopped.signal, read);
      const seen = JSON.stringify(report);
      if (report === undefined || seen === last || stopped.signal.aborted) continue;
      last = seen;
      onProgress?.(report);
    }
  })();
  return {
    stop: async () => {
      stopped.abort();
      await polling;
    },
  };
}

async function readCreate(client: Client, run: Run): Promise<CreateReport | undefined> {
  const answer = await queryCreate(client, run);
  if (answer === undefined) return await findIdleQueue(client, run);
  const { stage, backend, flightWorkflowId } = answer;
  const waits = stage === 'waiting' && flightWorkflowId !== undefined;
  const { work, unserved } = await findPending(client, waits ? flightWorkflowId : run.workflowId);
  const report = { backend, ...(waits && { flightWorkflowId }) };
  if (unserved !== undefined) return { ...report, stage: waitingForWorker(unserved), flightWorkflowId: undefined };
  return { stage, ...report, ...(work && { work }) };
}

/** @returns undefined while no worker answers for the workflow. */
async function queryCreate(
  client: Client,
  { workflowId, runId }: Run,
): Promise<z.output<typeof createProgressSchema> | undefined> {
  try {
    const create = client.workflow.getHandle(workflowId, runId);
    const answer: unknown = await client.withDeadline(Date.now() + QUERY_TIMEOUT_MS, () => create.query('progress'));
    return createProgressSchema.parse(answer);
  } catch {
    return undefined;
  }
}

/** @returns what holds a create that nobody works on, if it is that. */
async function findIdleQueue(client: Client, { workflowId, runId, taskQueue }: Run): Promise<CreateReport | undefined> {
  const [pollers, { raw }] = await Promise.all([
    findPollers(client, { taskQueue, of: 'workflows' }),
    client.workflow.getHandle(workflowId, runId).describe(),
  ]);
  if (pollers.length === 0) return { stage: waitingForWorker(taskQueue) };
  const { state, scheduledTime } = raw.pendingWorkflowTask ?? {};
  if (state !== PENDING_WORKFLOW_TASK_STATE_SCHEDULED || !hasWaited(scheduledTime)) return undefined;
  return { stage: waitingForWorker(taskQueue, 'takes it from') };
}

/** @param none the server may still count pollers that are gone. */
function waitingForWorker(taskQueue: string, none: 'polls' | 'takes it from' = 'polls'): string {
  return `waiting for a worker: none ${none} the task queue ${taskQueue}; start one with \`${describeRemedy(taskQueue)}\``;
}

/**
 * @returns what the activity of a workflow that moves bytes said last, from its heartbeat; undefined while there is
 * none.
 */
export async function findWork(client: Client, workflowId: string): Promise<Progress | undefined> {
  return (await findPending(client, workflowId)).work;
}

/** A task that no worker has taken for so long may have none that could. */
const UNSERVED_MS = 5000;
const { PENDING_ACTIVITY_STATE_SCHEDULED } = temporal.api.enums.v1.PendingActivityState;
const { PENDING_WORKFLOW_TASK_STATE_SCHEDULED } = temporal.api.enums.v1.PendingWorkflowTaskState;

function hasWaited(scheduledTime: { seconds?: unknown } | null | undefined): boolean {
  return Date.now() - Number(scheduledTime?.seconds ?? 0) * 1000 >= UNSERVED_MS;
}

/** @returns what a run's activities are about: the last progress, and the task queue of one that no worker polls for. */
async function findPending(client: Client, workflowId: string): Promise<{ work?: Progress; unserved?: string }> {
  const { raw } = await client.workflow.getHandle(workflowId).describe();
  const pending = raw.pendingActivities ?? [];
  for (const { heartbeatDetails } of pending) {
    const [payload] = heartbeatDetails?.payloads ?? [];
    const parsed = progressSchema.safeParse(payload && defaultPayloadConverter.fromPayload(payload));
    if (parsed.success) return { work: parsed.data };
  }
  for (const { state, scheduledTime, activityOptions } of pending) {
    const taskQueue = activityOptions?.taskQueue?.name;
    if (state !== PENDING_ACTIVITY_STATE_SCHEDULED || !taskQueue || !hasWaited(scheduledTime)) continue;
    if ((await findPollers(client, { taskQueue, of: 'activities' })).length === 0) return { unserved: taskQueue };
  }
  return {};
}

async function bounded<T>(client: Client, stopped: AbortSignal, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await client.withAbortSignal(followingSignal(stopped), () =>
      client.withDeadline(Date.now() + POLL_TIMEOUT_MS, work),
    );
  } catch {
    return undefined;
  }
}

/** A population that runs, as Temporal shows it. */
export interface Flight {
  workflowId: string;
  backend: string;
  shortKey: string;
  startedAt: string;
  /** The last progress of its running activity. */
  work: Progress | null;
}

/** Flights that a list shows at most; each costs a request. */
const MAX_FLIGHTS = 50;

/**
 * @returns the running populations of this stack, from Temporal alone. @throws ImageVolumeCacheError
 * `TemporalUnavailable`
 */
export async function listFlights(cache: ImageVolumeCache): Promise<Flight[]> {
  return await reportingErrors(cache, undefined, async (client) => {
    const running = `WorkflowType = '${workflowTypes.populateImageCache}' AND ExecutionStatus = 'Running' AND TaskQueue = '${cache.queues.control}'`;
    const found: { workflowId: string; startTime: Date }[] = [];
    for await (const execution of client.workflow.list({ query: running, pageSize: MAX_FLIGHTS })) {
      found.push(execution);
      if (found.length === MAX_FLIGHTS) break;
    }
    return await Promise.all(found.map((execution) => describeFlight(client, execution)));
  });
}

async function describeFlight(
  client: Client,
  { workflowId, startTime }: { workflowId: string; startTime: Date },
): Promise<Flight> {
  const [, backend = '', shortKey = ''] = workflowId.split('/');
  return {
    workflowId,
    backend,
    shortKey,
    startedAt: startTime.toISOString(),
    work: (await findWork(client, workflowId)) ?? null,
  };
}
