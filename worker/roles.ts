import { Worker, type NativeConnection, type WorkerOptions } from '@temporalio/worker';
import { createBackendActivities, createControlActivities, createHostActivities } from '../activities';
import type { BackendDependencies, ControlDependencies, HostDependencies } from '../activities/dependencies';
import { hostIdentity } from '../activities/transfer/lost-attempts';
import { dataConverter, tracedWorkflowBundlePath, workflowBundlePath } from './bundle';
import { typedFailures } from './typed-failures';
import type { WorkerTracing } from './worker-tracing';

/** Workflow tasks are short and mostly wait for the database. */
const WORKFLOW_TASKS_AT_ONCE = 40;
const LOCAL_ACTIVITIES_AT_ONCE = 64;
const CACHED_WORKFLOWS = 1000;
/** Activities that one process runs at once of each kind of queue. */
export interface Slots {
  control: number;
  /** Of each backend. */
  backend: number;
  /**
   * The host's own limits bound how many run at once; the others report that they wait, and `waitingRoom` leaves half
   * of these free.
   */
  host: number;
}
export const defaultSlots: Slots = { control: 64, backend: 32, host: 64 };
/** Work that has not ended with the grace is given up then. */
export const FORCE_AFTER_GRACE_MS = 5000;
/**
 * How often a running transfer's progress reaches the server, for progress bars. The default is 0.8 of the heartbeat
 * timeout.
 */
const HEARTBEAT_INTERVAL_MS = 500;

interface WorkerSettings {
  connection: NativeConnection;
  namespace: string;
  shutdownGraceTime: number;
  /** Undefined where no traces are wanted. */
  tracing?: WorkerTracing;
}

/** The parts that each role of this process works with; an absent role is not run. */
export interface RoleDependencies {
  control?: ControlDependencies;
  backend?: BackendDependencies;
  host?: HostDependencies;
}

/**
 * One Temporal worker for each task queue of the roles: control, one a backend, one for the host. All share one
 * connection.
 */
export async function createWorkers(
  { control, backend, host }: RoleDependencies,
  { tracing, ...settings }: WorkerSettings,
): Promise<Worker[]> {
  // Without a force time one hung activity keeps the process for ever.
  const shared = {
    ...settings,
    shutdownForceTime: settings.shutdownGraceTime + FORCE_AFTER_GRACE_MS,
    maxHeartbeatThrottleInterval: HEARTBEAT_INTERVAL_MS,
    dataConverter,
    interceptors: { activity: [...(tracing ? [tracing.activity] : []), typedFailures] },
    sinks: tracing?.sinks,
  };
  const options: WorkerOptions[] = [];
  if (control) {
    options.push({
      taskQueue: control.queues.control,
      workflowBundle: { codePath: tracing ? tracedWorkflowBundlePath : workflowBundlePath },
      activities: createControlActivities(control),
      maxConcurrentWorkflowTaskExecutions: WORKFLOW_TASKS_AT_ONCE,
      maxConcurrentLocalActivityExecutions: LOCAL_ACTIVITIES_AT_ONCE,
      maxConcurrentActivityTaskExecutions: defaultSlots.control,
      maxCachedWorkflows: CACHED_WORKFLOWS,
    });
  }
  if (backend) {
    for (const name of backend.backends.keys()) {
      options.push({
        taskQueue: backend.queues.backend(name),
        activities: createBackendActivities(backend, name),
        maxConcurrentActivityTaskExecutions: defaultSlots.backend,
      });
    }
  }
  if (host) {
    options.push({
      taskQueue: host.queues.host(host.hostId),
      // Tells the next worker of this host which attempts were this one's.
      identity: hostIdentity(host.hostId),
      activities: createHostActivities(host),
      maxConcurrentActivityTaskExecutions: defaultSlots.host,
    });
  }
  return await Promise.all(options.map((own) => Worker.create({ ...shared, ...own })));
}
