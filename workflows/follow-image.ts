/**
 * `FollowImage`: sets a follow, then checks it at once: newest image that matches -> cached -> the pointer moves -> the
 * former is superseded. `RefreshImageCache` checks it again every night. A newer start for the same follow replaces
 * this run and goes on with its work.
 */
import { setCurrentDetails } from '@temporalio/workflow';
import type { FollowInput, FollowOutcome } from './contract/refresh';
import { inTask } from './lib/activity-profiles';
import { checkFollow } from './lib/check-follow';
import { typed } from './lib/fail';
import { describeFollowed, describeFollowing } from './lib/refresh-details';

export async function FollowImage(input: FollowInput): Promise<FollowOutcome> {
  const follow = await typed(() => inTask({ summary: 'set the follow' }, (a) => a.setFollow(input)));
  setCurrentDetails(describeFollowing(follow.name, follow.backend));
  const { deletedEntries: _deleted, ...outcome } = await checkFollow(follow);
  setCurrentDetails(describeFollowed(outcome));
  return outcome;
}
