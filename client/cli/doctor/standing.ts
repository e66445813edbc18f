import { ScheduleNotFoundError, WorkflowNotFoundError } from '@temporalio/client';
import { unlessThrown } from '../../../lib/unless-thrown';
import { formatDuration } from '../../../workflows/contract/words';
import type { BackendName } from '../../../workflows/contract/ids';
import type { ImageVolumeCache } from '../../connection';
import { requestTemporal, runCheck, ok, warning, type DoctorFinding } from './check';

const REMEDY = 'restart a worker with the control role: it creates evictors and schedules';

/** An evictor for each backend, and the schedules. */
export async function checkStanding(cache: ImageVolumeCache, backends: string[]): Promise<DoctorFinding[]> {
  const { refresh, reconcile, evict } = cache.settings.loaded.config.schedules;
  const evictors = backends.map((name) => cache.queues.ids.evict(name as BackendName));
  const schedules = [
    { id: cache.queues.ids.refresh, when: describeWhen(refresh) },
    ...backends.map((name) => ({ id: cache.queues.ids.reconcile(name as BackendName), when: describeWhen(reconcile) })),
  ];
  const found = await Promise.all([
    ...evictors.map((id) => runCheck(id, REMEDY, () => checkEvictor(cache, { id, isOff: evict === 'off' }))),
    ...schedules.map(({ id, when }) => runCheck(`schedule ${id}`, REMEDY, () => checkSchedule(cache, { id, when }))),
  ]);
  return found.flat();
}

function describeWhen(when: string | number): string {
  return typeof when === 'number' ? `every ${formatDuration(when)}` : when;
}

async function checkEvictor(
  cache: ImageVolumeCache,
  { id, isOff }: { id: string; isOff: boolean },
): Promise<DoctorFinding> {
  const found = await requestTemporal(cache, (client) =>
    unlessThrown(WorkflowNotFoundError, client.workflow.getHandle(id).describe()),
  );
  if (found !== undefined && found.taskQueue !== cache.queues.control) return foreign(id, found.taskQueue);
  const status = found?.status.name ?? 'absent';
  if (status === 'RUNNING') return ok(id, 'runs');
  if (status === 'PAUSED')
    return warning(id, 'is paused: only populations evict', `temporal workflow unpause --workflow-id ${id}`);
  if (isOff) return ok(id, 'off by configuration; `ivc evict` starts it');
  return warning(id, `does not run (${status}): only populations evict`, REMEDY);
}

async function checkSchedule(
  cache: ImageVolumeCache,
  { id, when }: { id: string; when: string },
): Promise<DoctorFinding> {
  const check = `schedule ${id}`;
  const found = await requestTemporal(cache, (client) =>
    unlessThrown(ScheduleNotFoundError, client.schedule.getHandle(id).describe()),
  );
  if (when === 'off') return ok(check, 'off by configuration');
  if (found === undefined) return warning(check, `does not exist; ${when} is configured`, REMEDY);
  if (found.action.taskQueue !== cache.queues.control) return foreign(check, found.action.taskQueue);
  if (found.state.paused)
    return warning(
      check,
      `is paused: ${found.state.note ?? 'without a note'}`,
      `temporal schedule toggle --unpause --schedule-id ${id}`,
    );
  const next = found.info.nextActionTimes[0]?.toISOString() ?? 'unknown';
  return ok(check, `${when}, next at ${next}`);
}

function foreign(check: string, taskQueue: string): DoctorFinding {
  const remedy = 'give one of the two installations its own temporal.taskQueuePrefix';
  return warning(check, `belongs to another installation, on task queue ${taskQueue}`, remedy);
}
