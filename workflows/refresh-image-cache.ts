/**
 * `RefreshImageCache`: checks every image behind an entry at the image service, then every follow.
 *
 *   images, page by page: usable | deactivated | gone -> an entry is retired with its last usable image, and deleted when nothing needs it
 *   images that were not found: gone, when the service is proven to be sound; else nothing is done for them, and the result says so
 *   follows: newest match -> cached -> the pointer moves -> the former is superseded
 *
 * Only a follow populates anything. One image or follow that fails stops no other; the next run checks it again.
 */
import { continueAsNew, log, setCurrentDetails, workflowInfo } from '@temporalio/workflow';
import type { RefreshPage } from '../activities/refresh/refresh-images';
import type { RefreshPlan } from '../activities/refresh/refresh-request';
import type { RefreshCursor, RefreshInput, RefreshResult } from './contract/refresh';
import { heartbeating, inTask } from './lib/activity-profiles';
import { checkFollow } from './lib/check-follow';
import { deleteFreedEntries } from './lib/delete-freed-entries';
import { expectFailure, typed } from './lib/fail';
import { inParallel } from './lib/in-parallel';
import { countImages, retireMissingImages } from './lib/retire-missing-images';
import { describeRefreshed, describeRefreshing, summarizeRefresh } from './lib/refresh-details';

/** A run goes on as a new one after so many pages of images, or when the server says that its history grows long. */
const PAGES_A_RUN = 200;
/** A service that answers for nothing for so long is left to the next run. */
const PAGE_BUDGET_MS = 30 * 60_000;
const FOLLOWS_AT_ONCE = 4;
/** Images not found that one run checks again: the state that it carries from run to run stays small. */
const MAX_MISSING = 10_000;

export async function RefreshImageCache(input: RefreshInput = {}): Promise<RefreshResult> {
  const planStep = { summary: 'check the request, list the follows' };
  const plan = await typed(() => inTask(planStep, (a) => a.planRefresh(input)));
  const cursor = input.cursor ?? { afterImageId: null, imagesDone: !plan.asksImages, result: emptyResult() };
  cursor.result = { ...emptyResult(), ...cursor.result };
  await refreshImages(input, plan, cursor);
  const { result, missing = [] } = cursor;
  if (missing.length > 0) await retireMissingImages(result, missing, input.acceptMissing === true);
  await refreshFollows(plan, result);
  result.summary = summarizeRefresh(result);
  setCurrentDetails(describeRefreshed(result));
  return result;
}

/** Ends when all images are checked, or when the service answers for none of them any more. */
async function refreshImages(input: RefreshInput, plan: RefreshPlan, cursor: RefreshCursor): Promise<void> {
  for (let pages = 0; !cursor.imagesDone; pages += 1) {
    if (pages === PAGES_A_RUN || workflowInfo().continueAsNewSuggested)
      await continueAsNew<typeof RefreshImageCache>({ ...input, cursor });
    setCurrentDetails(describeRefreshing(cursor.result, plan.follows.length));
    const page = await findPage(plan, cursor);
    if (page === undefined) return;
    countPage(cursor.result, page);
    cursor.missing = [...(cursor.missing ?? []), ...(page.missing ?? [])].slice(0, MAX_MISSING);
    cursor.result.deletedEntries += await deleteFreedEntries(page.free);
    Object.assign(cursor, { afterImageId: page.afterImageId, imagesDone: page.done });
  }
}

/** @returns undefined when the service did not answer within the page's budget. */
async function findPage({ scope }: RefreshPlan, { afterImageId }: RefreshCursor): Promise<RefreshPage | undefined> {
  const summary = `check the images after ${afterImageId ?? 'the first'}`;
  try {
    return await heartbeating({ summary, budgetMs: PAGE_BUDGET_MS }).refreshImages({ scope, afterImageId });
  } catch (error) {
    const { type: failureType } = expectFailure(error);
    log.warn('the rest of the images is left to the next run', { afterImageId, failureType });
    return undefined;
  }
}

async function refreshFollows({ follows }: RefreshPlan, result: RefreshResult): Promise<void> {
  await inParallel(follows, FOLLOWS_AT_ONCE, async (follow) => {
    const { deletedEntries, ...outcome } = await checkFollow(follow);
    result.deletedEntries += deletedEntries;
    result.follows.push(outcome);
  });
}

function countPage(result: RefreshResult, page: RefreshPage): void {
  const { usable, deactivated, gone, unanswered } = page.counts;
  result.imagesAsked += usable + deactivated + gone + unanswered + (page.missing?.length ?? 0);
  countImages(result, page);
}

function emptyResult(): RefreshResult {
  return {
    imagesAsked: 0,
    usable: 0,
    deactivated: 0,
    gone: 0,
    unbelieved: 0,
    doubt: null,
    unanswered: 0,
    retiredEntries: [],
    keptEntries: [],
    deletedEntries: 0,
    follows: [],
    summary: '',
  };
}
