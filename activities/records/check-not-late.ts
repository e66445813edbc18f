import { activityInfo } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';

/**
 * For a change that a later one may take back: a try that its workflow has given up changes nothing any more.
 * @throws when this try's time is over (nobody hears it).
 */
export function checkNotLate(): void {
  const { currentAttemptScheduledTimestampMs, startToCloseTimeoutMs } = activityInfo();
  if (Date.now() <= currentAttemptScheduledTimestampMs + startToCloseTimeoutMs) return;
  throw ApplicationFailure.create({ message: 'this try came too late and has changed nothing' });
}
