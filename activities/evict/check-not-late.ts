import { activityInfo } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import type { ControlDependencies } from '../dependencies';
import { findRun } from '../kit/runs';

/**
 * For a change that a later one may take back: a try that its workflow has given up changes nothing any more. The server is asked, since neither this
 * host's clock nor the database's is the one that the try's time is measured by.
 * @throws when the server no longer waits for this try (nobody hears it).
 */
export async function checkNotLate(deps: Pick<ControlDependencies, 'temporal'>): Promise<void> {
  const { activityId, attempt, workflowExecution } = activityInfo();
  const run = workflowExecution && (await findRun(deps, workflowExecution));
  const pending = run?.raw.pendingActivities?.find((activity) => activity.activityId === activityId);
  if (pending?.attempt === attempt) return;
  throw ApplicationFailure.create({ message: 'this try came too late and has changed nothing' });
}
