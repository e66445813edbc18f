/**
 * `WarmImageCache`: populates the cache before the first create. Each image on each backend is a pair of its own: a
 * ready entry is used as it is, else the key's flight is opened or joined. A pair that fails stops no other.
 */
import { setCurrentDetails, setHandler } from '@temporalio/workflow';
import type { BackendName, EntryId, ImageId } from './contract/ids';
import type { WarmInput, WarmOutcome, WarmProgress, WarmResult } from './contract/refresh';
import { control, inTask } from './lib/activity-profiles';
import { expectFailure, typed } from './lib/fail';
import { inParallel } from './lib/in-parallel';
import { describeWarmed, describeWarming, summarizeWarming } from './lib/refresh-details';
import { ensureCached, type Warmed } from './lib/ensure-cached';
import { warmProgressQuery } from './messages';
import { workflowLink } from './lib/details';

/** Pairs that are warmed at the same time: populations share the hosts with those that creates wait for. */
const PAIRS_AT_ONCE = 4;

export async function WarmImageCache(input: WarmInput): Promise<WarmResult> {
  const progress: WarmProgress = { total: 0, done: [], running: [] };
  setHandler(warmProgressQuery, () => progress, {
    description: 'the images being warmed, and the populations they wait for',
  });
  const { pairs, pin, by } = await typed(() => inTask({ summary: 'check the request' }, (a) => a.planWarming(input)));
  progress.total = pairs.length;
  await inParallel(pairs, PAIRS_AT_ONCE, async (pair) => {
    const outcome = await warmPair(pair, progress);
    progress.done.push(pin ? await pinned(outcome, by) : outcome);
  });
  const result = { warmed: progress.done, summary: summarizeWarming(progress.done) };
  setCurrentDetails(describeWarmed(result));
  return result;
}

interface Pair {
  imageId: ImageId;
  backend: BackendName;
}

async function warmPair(pair: Pair, progress: WarmProgress): Promise<WarmOutcome> {
  const startedAtMs = Date.now();
  const running: WarmProgress['running'][number] = { ...pair, flightWorkflowId: null };
  progress.running.push(running);
  const warmed: Warmed = await ensureCached(pair, (flightWorkflowId) => {
    running.flightWorkflowId = flightWorkflowId;
    setCurrentDetails(describeWarming(progress, workflowLink));
  });
  progress.running.splice(progress.running.indexOf(running), 1);
  return { ...pair, ...warmed, seconds: (Date.now() - startedAtMs) / 1000 };
}

/** A pair that is to be pinned and cannot be is a failed one. */
async function pinned(outcome: WarmOutcome, by: string): Promise<WarmOutcome> {
  const { entryId, summary } = outcome;
  if (entryId === null) return outcome;
  const problem = await findPinProblem(entryId, by);
  return problem === undefined
    ? { ...outcome, summary: `${summary}; pinned` }
    : { ...outcome, outcome: 'failed', summary: `${summary}; not pinned: ${problem}` };
}

async function findPinProblem(entryId: EntryId, by: string): Promise<string | undefined> {
  try {
    const step = { summary: 'pin the warmed entries' };
    const { pinned: isPinned } = await control(step).pinWarmed({ entryId, by });
    return isPinned ? undefined : 'it was evicted before';
  } catch (error) {
    return expectFailure(error).message;
  }
}
