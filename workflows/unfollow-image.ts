/** `UnfollowImage`: ends a follow. Its entries stay cached. */
import { setCurrentDetails } from '@temporalio/workflow';
import type { UnfollowInput, UnfollowResult } from './contract/refresh';
import { inTask } from './lib/activity-profiles';
import { typed } from './lib/fail';
import { describeUnfollowed } from './lib/refresh-details';

export async function UnfollowImage(input: UnfollowInput): Promise<UnfollowResult> {
  const removed = await typed(() => inTask({ summary: 'end the follow' }, (a) => a.removeFollow(input)));
  setCurrentDetails(describeUnfollowed(removed));
  return removed;
}
