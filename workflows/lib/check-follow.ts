import { log, sleep } from '@temporalio/workflow';
import type { EntryId, ImageId } from '../contract/ids';
import type { FollowOutcome, FollowToCheck } from '../contract/refresh';
import { control, heartbeating } from './activity-profiles';
import { deleteFreedEntries } from './delete-freed-entries';
import { ensureCached } from './ensure-cached';
import { expectFailure } from './fail';

/**
 * Rounds of look, populate and flip: more than one only when the entry was evicted, or something newer came, before the
 * pointer could move.
 */
const MAX_ROUNDS = 3;
/** A service that does not answer for so long is tried again by the next check. */
const LOOK_BUDGET_MS = 30 * 60_000;
/** More than an admission needs. */
const SETTLE_MS = 1000;

export interface CheckedFollow extends FollowOutcome {
  deletedEntries: number;
}

/**
 * Checks one follow: finds the newest image that matches, sees to it that it is cached, and only then moves the pointer
 * to it; its former target is superseded. A failure is an outcome, and the follow says so until its next check.
 */
export async function checkFollow(follow: FollowToCheck): Promise<CheckedFollow> {
  try {
    return await check(follow);
  } catch (error) {
    return await fail(follow, null, expectFailure(error).message);
  }
}

async function check(follow: FollowToCheck): Promise<CheckedFollow> {
  const { followId, name, backend } = follow;
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const look = { summary: `find the newest image of follow ${name}`, budgetMs: LOOK_BUDGET_MS };
    const match = await heartbeating(look).matchFollow({ followId });
    if (match.kind === 'no-match')
      return outcomeOf(follow, { outcome: 'no-match', summary: 'no active image matches' });
    if (match.kind === 'unfollowed') return unfollowed(follow);
    const { imageId } = match;
    const warmed = await ensureCached({ imageId, backend });
    if (warmed.entryId === null)
      return await fail(follow, imageId, `image ${imageId} is not cached: ${warmed.summary}`);
    const flip = await flipFollow(follow, imageId, warmed.entryId);
    if (flip.kind === 'unfollowed') return unfollowed(follow);
    if (flip.kind === 'lost') continue;
    const summary = flip.flipped
      ? `now points to image ${imageId}: ${warmed.summary}`
      : `image ${imageId} is the newest`;
    const outcome = flip.flipped ? 'flipped' : 'current';
    return outcomeOf(follow, { outcome, imageId, summary, ...(flip.hasSurplus && (await giveUpSurplus(follow))) });
  }
  return await fail(follow, null, `the newest image, or its entry, changed ${MAX_ROUNDS} times meanwhile`);
}

function unfollowed(follow: FollowToCheck): CheckedFollow {
  return outcomeOf(follow, { outcome: 'failed', summary: 'it was unfollowed' });
}

async function flipFollow({ followId, name }: FollowToCheck, imageId: ImageId, entryId: EntryId) {
  const summary = `point follow ${name} to image ${imageId}`;
  return await control({ summary, budgetMs: LOOK_BUDGET_MS }).flipFollow({ followId, imageId, entryId });
}

/**
 * Retires former contents once creates that were admitted with them, a moment before the pointer moved, have their
 * clones or are known to wait.
 */
async function giveUpSurplus({
  followId,
  name,
}: FollowToCheck): Promise<Pick<CheckedFollow, 'retired' | 'deletedEntries'>> {
  await sleep(SETTLE_MS, { summary: `let creates of the former image of follow ${name} have their clones` });
  const step = { summary: `retire the entries that follow ${name} superseded`, budgetMs: LOOK_BUDGET_MS };
  const { retired, free } = await control(step).retireSuperseded({ followId });
  return { retired, deletedEntries: await deleteFreedEntries(free) };
}

async function fail(follow: FollowToCheck, imageId: ImageId | null, problem: string): Promise<CheckedFollow> {
  const { followId, name } = follow;
  try {
    await control({ summary: `write down the problem of follow ${name}` }).noteFollowProblem({ followId, problem });
  } catch (error) {
    const { type: failureType } = expectFailure(error);
    log.warn('the problem of a follow was not written down', { followId, problem, failureType });
  }
  return outcomeOf(follow, { outcome: 'failed', imageId, summary: problem });
}

function outcomeOf(
  { followId, name, backend }: FollowToCheck,
  known: Pick<FollowOutcome, 'outcome' | 'summary'> & Partial<CheckedFollow>,
): CheckedFollow {
  return { followId, name, backend, imageId: null, retired: [], deletedEntries: 0, ...known };
}
