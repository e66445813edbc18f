import {
  ScheduleAlreadyRunning,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
  WorkflowNotFoundError,
  type Client,
  type ScheduleOptions,
} from '@temporalio/client';
import type { ResolvedConfig } from '../client/config/load';
import { unlessThrown } from '../lib/unless-thrown';
import type { ConfigureSignal, EvictImageCacheInput } from '../workflows/contract/eviction';
import type { BackendName } from '../workflows/contract/ids';
import { workflowTypes, type taskQueues } from '../workflows/contract/names';
import { isOpenRun } from '../workflows/contract/run-status';
import type { Logger } from '../client/logger';

interface Standing {
  config: Pick<ResolvedConfig, 'schedules' | 'backends'>;
  temporal: Client;
  queues: ReturnType<typeof taskQueues>;
  logger: Logger;
}

/** Runs that were missed for longer, since no server ran, are not made good. */
const CATCHUP_WINDOW = '10m';
/** A server that does not answer in this time does not hold up the worker. */
const DEADLINE_MS = 10_000;

/**
 * Starts and ends the standing workflows as the configuration says: an evictor for each backend, and the schedules of
 * refresh and reconcile. One that is switched off is no longer there, but for evictors, which then only answer
 * requests. Idempotent; of several workers the last one's configuration holds. A missing permission is logged, and the
 * worker goes on without it.
 */
export async function ensureStandingWorkflows(standing: Standing): Promise<void> {
  const { config, queues } = standing;
  const { refresh, reconcile, evict } = config.schedules;
  const backends = Object.keys(config.backends) as BackendName[];
  const schedules: WantedSchedule[] = [
    { id: queues.ids.refresh, when: refresh, workflowType: workflowTypes.refreshImageCache, input: {} },
    ...backends.map((backend) => ({
      id: queues.ids.reconcile(backend),
      when: reconcile,
      workflowType: workflowTypes.reconcileBackend,
      input: { backend },
    })),
  ];
  await Promise.all([
    ...backends.map((backend) =>
      attempt(standing, queues.ids.evict(backend), () => ensureEvictor(standing, { backend, evict })),
    ),
    ...schedules.map((wanted) => attempt(standing, `schedule ${wanted.id}`, () => ensureSchedule(standing, wanted))),
  ]);
}

/** The signal tells a running evictor what a changed configuration says; it starts one that is absent. */
async function ensureEvictor(
  { temporal, queues }: Standing,
  { backend, evict }: { backend: BackendName; evict: ResolvedConfig['schedules']['evict'] },
): Promise<void> {
  const workflowId = queues.ids.evict(backend);
  await refuseForeign(temporal, { workflowId, taskQueue: queues.control });
  const sweepIntervalMs = evict === 'off' ? null : evict;
  const configure: ConfigureSignal = { sweepIntervalMs };
  if (sweepIntervalMs === null) {
    const running = temporal.workflow.getHandle(workflowId);
    return await unlessThrown(WorkflowNotFoundError, running.signal('configure', configure));
  }
  await temporal.workflow.signalWithStart<(input: EvictImageCacheInput) => Promise<void>, [ConfigureSignal]>(
    workflowTypes.evictImageCache,
    {
      workflowId,
      taskQueue: queues.control,
      args: [{ backend, sweepIntervalMs }],
      signal: 'configure',
      signalArgs: [configure],
      staticSummary: `eviction on backend ${backend}`,
    },
  );
}

/** A run of this id on another task queue is another installation's. */
async function refuseForeign(
  temporal: Client,
  { workflowId, taskQueue }: { workflowId: string; taskQueue: string },
): Promise<void> {
  const found = await unlessThrown(WorkflowNotFoundError, temporal.workflow.getHandle(workflowId).describe());
  if (found !== undefined && isOpenRun(found.status.name) && found.taskQueue !== taskQueue)
    throw new Error(`it belongs to another installation, on task queue ${found.taskQueue}`);
}

interface WantedSchedule {
  id: string;
  /** A cron expression in UTC, milliseconds between two runs, or `off`. */
  when: string | number;
  workflowType: string;
  input: object;
}

async function ensureSchedule({ temporal, queues }: Standing, wanted: WantedSchedule): Promise<void> {
  const { id, when } = wanted;
  if (when === 'off') return await deleteSchedule(temporal, { id, taskQueue: queues.control });
  const options = optionsOf(wanted, queues.control);
  try {
    await temporal.schedule.create(options);
  } catch (error) {
    if (!(error instanceof ScheduleAlreadyRunning)) throw error;
    return await updateSchedule(temporal, options);
  }
}

async function updateSchedule(
  temporal: Client,
  { scheduleId, ...options }: ReturnType<typeof optionsOf>,
): Promise<void> {
  const { spec, action, policies } = options;
  await temporal.schedule.getHandle(scheduleId).update((found) => {
    if (found.action.taskQueue !== action.taskQueue)
      throw new Error(`it belongs to another installation, on task queue ${found.action.taskQueue}`);
    // Whether an operator has paused it stays as it is.
    return { spec, action, policies, state: found.state };
  });
}

function optionsOf({ id, when, workflowType, input }: WantedSchedule, taskQueue: string) {
  return {
    scheduleId: id,
    spec: typeof when === 'number' ? { intervals: [{ every: when }] } : { cronExpressions: [when] },
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: CATCHUP_WINDOW },
    action: { type: 'startWorkflow', workflowType, workflowId: id, taskQueue, args: [input] },
  } satisfies ScheduleOptions;
}

/** One of the same name that starts workflows elsewhere is another installation's. */
async function deleteSchedule(temporal: Client, { id, taskQueue }: { id: string; taskQueue: string }): Promise<void> {
  const handle = temporal.schedule.getHandle(id);
  const found = await unlessThrown(ScheduleNotFoundError, handle.describe());
  if (found?.action.taskQueue === taskQueue) await unlessThrown(ScheduleNotFoundError, handle.delete());
}

async function attempt({ temporal, logger }: Standing, what: string, ensure: () => Promise<void>): Promise<void> {
  try {
    await temporal.withDeadline(Date.now() + DEADLINE_MS, ensure);
  } catch (error) {
    logger.warn(
      { what, error: String(error) },
      'evictors and schedules could not be set up; the worker runs without them',
    );
  }
}
