/**
 * `FollowImage`: sets a follow, then looks at it at once: newest image that matches -> cached -> the pointer moves -> the former is superseded.
 * `RefreshImageCache` looks at it again every night. A newer start for the same follow takes this run's place: whatever was begun is gone on with.
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
