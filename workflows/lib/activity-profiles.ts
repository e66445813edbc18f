import {
  ActivityCancellationType,
  proxyActivities,
  proxyLocalActivities,
  workflowInfo,
  type ActivityOptions,
  type LocalActivityInterfaceFor,
} from '@temporalio/workflow';
import type { BackendActivities, ControlActivities, HostActivities } from '../../activities';
import type { FailureType } from '../contract/failures';
import type { BackendName, HostId } from '../contract/ids';
import { siblingQueues } from '../contract/names';
import { isFinal } from './fail';

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

/** A worker that stops heartbeating for this long counts as dead. */
const HEARTBEAT_TIMEOUT_MS = 15 * SECOND_MS;
/** The limit of one conversion where an older version admitted the run. */
const DEFAULT_CONVERSION_MS = 2 * HOUR_MS;
/**
 * For the rest of the step: its turn among the host's conversions, a repeated download, the disk's last writes.
 * Heartbeats tell of a dead one.
 */
const AROUND_CONVERSION_MS = 4 * HOUR_MS;
/** One try at reading a whole volume and sending it, with its turn among the host's. */
const WHOLE_VOLUME_MS = 48 * HOUR_MS;
/** A host whose queue nobody polls for this long is lost: another is picked. */
const HOST_SCHEDULE_TO_START_MS = 45 * SECOND_MS;
/**
 * The same for what is undone there: an undo that no worker runs is left to the reconciler, so that it does not hold up
 * the end of its run.
 */
const UNDO_SCHEDULE_TO_START_MS = 10 * SECOND_MS;

/**
 * A cancelled step is waited for: undoing it while it still runs would leave what it does last. Left out, the SDK does
 * not wait, whatever its documentation says of the default.
 */
const cancellationType = ActivityCancellationType.WAIT_CANCELLATION_COMPLETED;

const patient = { initialInterval: 500, backoffCoefficient: 2, maximumInterval: 30 * SECOND_MS };

/** The budget of a step: the rest of its create's. A flight has none. */
export interface StepOptions {
  /** Shown in the UI beside the activity's type. */
  summary: string;
  /** Milliseconds that are left for this step and its retries. */
  budgetMs?: number;
}

/** A normal activity waits for what may last long, between its tries; a workflow task does not. */
const waitedFor: FailureType[] = ['VolumeBusy', 'CredentialsRefused'];

/**
 * Runs a short step over the inventory or image metadata within the workflow task itself, with no hop through the
 * server; when it fails in a way that time may fix, such as a restart of the database or the image service, the same
 * step as a normal activity.
 */
export async function inTask<Result>(
  step: StepOptions,
  run: (activities: LocalActivityInterfaceFor<ControlActivities>) => Promise<Result>,
): Promise<Result> {
  const local = proxyLocalActivities<ControlActivities>({
    cancellationType,
    startToCloseTimeout: 5 * SECOND_MS,
    retry: { initialInterval: 50, maximumAttempts: 3, nonRetryableErrorTypes: waitedFor },
    summary: step.summary,
  });
  try {
    return await run(local);
  } catch (error) {
    if (isFinal(error)) throw error;
    return await run(control(step));
  }
}

/**
 * Steps over the inventory and image metadata as normal activities: they outlast a restart of the database or the image
 * service.
 */
export function control({ summary, budgetMs }: StepOptions, options: ActivityOptions = {}) {
  return proxyActivities<ControlActivities>({
    cancellationType,
    startToCloseTimeout: 20 * SECOND_MS,
    scheduleToCloseTimeout: budgetMs,
    retry: patient,
    summary,
    ...options,
  });
}

/**
 * Waiting for a flight: completed from outside, so it holds no slot and needs no timer of the workflow.
 * @param safetyIntervalMs after so long, plus up to half of it so that a herd does not read at once, a waiter reads its
 * flight's row again.
 */
export function waiting(
  step: StepOptions,
  { activityId, safetyIntervalMs }: { activityId: string; safetyIntervalMs: number },
) {
  return control(step, {
    activityId,
    startToCloseTimeout: Math.round(safetyIntervalMs * (1 + Math.random() / 2)),
    retry: { initialInterval: SECOND_MS, backoffCoefficient: 1 },
    cancellationType: ActivityCancellationType.TRY_CANCEL,
  });
}

/** Work that goes on for as long as it reports progress. */
export function heartbeating(step: StepOptions) {
  return control(step, { startToCloseTimeout: HOUR_MS, heartbeatTimeout: HEARTBEAT_TIMEOUT_MS });
}

/** Waiting for another run's end, try by try. */
export function polling(step: StepOptions) {
  return control(step, { retry: { initialInterval: 100, backoffCoefficient: 1.5, maximumInterval: 5 * SECOND_MS } });
}

/** @returns the task queue of the workers that hold a backend. */
export function backendQueueOf(backend: BackendName): string {
  return siblingQueues(workflowInfo().taskQueue).backend(backend);
}

/** Where the backend is reachable. */
export function onBackend(backend: BackendName, { summary, budgetMs }: StepOptions, options: ActivityOptions = {}) {
  return proxyActivities<BackendActivities>({
    cancellationType,
    taskQueue: backendQueueOf(backend),
    startToCloseTimeout: 2 * MINUTE_MS,
    heartbeatTimeout: HEARTBEAT_TIMEOUT_MS,
    scheduleToCloseTimeout: budgetMs,
    retry: patient,
    summary,
    ...options,
  });
}

/** Work on many volumes of a backend, for as long as it reports progress. */
export function onBackendInBulk(backend: BackendName, step: StepOptions) {
  return onBackend(backend, step, { startToCloseTimeout: HOUR_MS });
}

/**
 * The evictor's and the reconciler's work on their backend, for as long as it reports progress. It ends with a failure
 * when nobody holds the backend, or when it has failed several times: they tell so and go on, and the next sweep or
 * look finishes what was begun.
 */
export function evicting(backend: BackendName, step: StepOptions) {
  return onBackend(backend, step, {
    startToCloseTimeout: 6 * HOUR_MS,
    scheduleToStartTimeout: 2 * MINUTE_MS,
    retry: { ...patient, maximumAttempts: 5 },
  });
}

/** A step on one host's scratch, for as long as it reports progress. It fails when nobody polls the host's queue. */
export function onScratch(host: HostId, { summary }: StepOptions) {
  return proxyActivities<HostActivities>({
    cancellationType,
    taskQueue: siblingQueues(workflowInfo().taskQueue).host(host),
    startToCloseTimeout: HOUR_MS,
    heartbeatTimeout: HEARTBEAT_TIMEOUT_MS,
    scheduleToStartTimeout: HOST_SCHEDULE_TO_START_MS,
    retry: { ...patient, maximumAttempts: 5 },
    summary,
  });
}

/** Reads a whole volume, for as long as it reports progress. */
export function readingOn(host: HostId, { summary }: StepOptions) {
  return proxyActivities<HostActivities>({
    cancellationType,
    taskQueue: siblingQueues(workflowInfo().taskQueue).host(host),
    startToCloseTimeout: WHOLE_VOLUME_MS,
    heartbeatTimeout: HEARTBEAT_TIMEOUT_MS,
    scheduleToStartTimeout: HOST_SCHEDULE_TO_START_MS,
    retry: patient,
    summary,
  });
}

/** The image that moves on a host, for the summaries. */
export interface MoveOptions extends Omit<StepOptions, 'summary'> {
  /** By id, and name where it has one. */
  image: string;
  /** Such as `volume 4f…`. */
  target: string;
  /** Milliseconds that the tool may run, as the worker that admitted the run was configured. */
  conversionMs?: number;
}

/** On one host, whose scratch holds the bytes. */
export function onHost(host: HostId, { image, target, budgetMs, conversionMs }: MoveOptions) {
  const shared = {
    cancellationType,
    taskQueue: siblingQueues(workflowInfo().taskQueue).host(host),
    scheduleToCloseTimeout: budgetMs,
  };
  const moving = {
    ...shared,
    heartbeatTimeout: HEARTBEAT_TIMEOUT_MS,
    scheduleToStartTimeout: HOST_SCHEDULE_TO_START_MS,
  };
  return {
    transfer: proxyActivities<HostActivities>({
      ...moving,
      summary: `download image ${image} to host ${host}`,
      startToCloseTimeout: 6 * HOUR_MS,
      retry: patient,
    }),
    convert: proxyActivities<HostActivities>({
      ...moving,
      summary: `inspect image ${image}, write it into ${target}`,
      startToCloseTimeout: (conversionMs ?? DEFAULT_CONVERSION_MS) + AROUND_CONVERSION_MS,
      // The activity ends by its own failures: a count here would count lost workers too.
      retry: patient,
    }),
    cleanup: proxyActivities<HostActivities>({
      ...shared,
      summary: `undo: release image ${image} on host ${host}`,
      scheduleToStartTimeout: UNDO_SCHEDULE_TO_START_MS,
      startToCloseTimeout: MINUTE_MS,
      scheduleToCloseTimeout: MINUTE_MS,
      retry: patient,
    }),
  };
}
