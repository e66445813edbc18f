import { CONTROL_QUEUE } from './names';

/** The roles of the workers that poll each of our task queues, as `ivc worker --roles` takes them. */
function rolesFor(taskQueue: string): 'control' | 'backend,host' | 'host' {
  if (taskQueue.endsWith(CONTROL_QUEUE)) return 'control';
  return /(?:^|-)host-[0-9a-f]{8}-[0-9a-f-]{27}$/.test(taskQueue) ? 'host' : 'backend,host';
}

/** @returns the command that starts a worker for a task queue that nobody polls, and where. */
export function describeRemedy(taskQueue: string): string {
  const roles = rolesFor(taskQueue);
  return `ivc worker --roles ${roles}${roles === 'host' ? ' on the host whose scratch it is' : ''}`;
}
