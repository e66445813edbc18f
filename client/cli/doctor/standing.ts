import { ScheduleNotFoundError, WorkflowNotFoundError } from '@temporalio/client';
import type { BackendName } from '../../../workflows/contract/ids';
import type { ImageVolumeCache } from '../../connection';
import { askTemporal, look, ok, warning, type Finding } from './check';

const REMEDY = 'restart a worker with the control role: it sets up what runs by itself';

/** What runs by itself: an evictor for each backend, and the schedules. */
export async function checkStanding(cache: ImageVolumeCache, backends: string[]): Promise<Finding[]> {
  const { refresh, reconcile, evict } = cache.settings.loaded.config.schedules;
  const evictors = backends.map((name) => cache.queues.ids.evict(name as BackendName));
  const schedules = [
    { id: cache.queues.ids.refresh, cron: refresh },
    ...backends.map((name) => ({ id: cache.queues.ids.reconcile(name as BackendName), cron: reconcile })),
  ];
  const found = await Promise.all([
    ...evictors.map((id) => look(id, REMEDY, () => checkEvictor(cache, { id, isOff: evict === 'off' }))),
    ...schedules.map(({ id, cron }) => look(`schedule ${id}`, REMEDY, () => checkSchedule(cache, { id, cron }))),
  ]);
  return found.flat();
}

async function checkEvictor(cache: ImageVolumeCache, { id, isOff }: { id: string; isOff: boolean }): Promise<Finding> {
  const { status, taskQueue } = await askTemporal(cache, async (client) => {
    try {
      const { status: found, ...described } = await client.workflow.getHandle(id).describe();
      return { status: found.name, taskQueue: described.taskQueue };
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return { status: 'absent', taskQueue: undefined };
      throw error;
    }
  });
  if (taskQueue !== undefined && taskQueue !== cache.queues.control) return foreign(id, taskQueue);
  if (status === 'RUNNING') return ok(id, 'runs');
  if (status === 'PAUSED')
    return warning(
      id,
      'is paused: nothing is evicted but for populations',
      `temporal workflow unpause --workflow-id ${id}`,
    );
  if (isOff) return ok(id, 'off by configuration; `ivc evict` starts it');
  return warning(id, `does not run (${status}): nothing is evicted but for populations`, REMEDY);
}

async function checkSchedule(cache: ImageVolumeCache, { id, cron }: { id: string; cron: string }): Promise<Finding> {
  const check = `schedule ${id}`;
  const found = await askTemporal(cache, async (client) => {
    try {
      return await client.schedule.getHandle(id).describe();
    } catch (error) {
      if (error instanceof ScheduleNotFoundError) return undefined;
      throw error;
    }
  });
  if (cron === 'off') return ok(check, 'off by configuration');
  if (found === undefined) return warning(check, `is not there; ${cron} is configured`, REMEDY);
  if (found.action.taskQueue !== cache.queues.control) return foreign(check, found.action.taskQueue);
  if (found.state.paused)
    return warning(
      check,
      `is paused: ${found.state.note ?? 'without a note'}`,
      `temporal schedule toggle --unpause --schedule-id ${id}`,
    );
  const next = found.info.nextActionTimes[0]?.toISOString() ?? 'unknown';
  return ok(check, `${cron}, next at ${next}`);
}

function foreign(check: string, taskQueue: string): Finding {
  const remedy = 'give one of the two installations a temporal.taskQueuePrefix of its own';
  return warning(check, `is another installation's, on task queue ${taskQueue}`, remedy);
}
