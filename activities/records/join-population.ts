import { activityInfo, CompleteAsyncError } from '@temporalio/activity';
import { listEntries } from '../../db/queries/cache-entries';
import { findFlight, joinFlight } from '../../db/queries/populations';
import { Failure } from '../../workflows/contract/failures';
import type { VolumeId } from '../../workflows/contract/ids';
import { workflowIds, workflowTypes } from '../../workflows/contract/names';
import type { Admission, PopulateInput, Verdict } from '../../workflows/contract/population';
import type { ControlDependencies } from '../dependencies';
import { workflowExecution } from './admit-volume';

export interface JoinOutcome {
  verdict: Verdict;
  /** The volume whose join opened the flight: for the decision records. Null where no flight was needed. */
  leader: VolumeId | null;
}

/**
 * Joins the flight of the volume's cache key, makes sure that it runs, and waits for its verdict without holding a slot: the flight's last activity
 * completes this one from outside, by workflow, run and activity id. The start-to-close timeout is the safety timer: the retry asks the row again.
 * @throws FlightClosing (retried at once), CreateCancelled, CacheKeyCollision (final).
 */
export function createJoinPopulation(deps: ControlDependencies) {
  return async function joinPopulation({
    volumeId,
    admission,
  }: {
    volumeId: VolumeId;
    admission: Admission;
  }): Promise<JoinOutcome> {
    const { backend, cacheKey, imageId, projectId } = admission;
    const { activityId, attempt } = activityInfo();
    const [ready] = await listEntries(deps.database, { backend, shortKey: cacheKey.short, state: 'ready', limit: 1 });
    // A flight that ended between acquire and join has left what it would answer.
    if (ready)
      return { leader: null, verdict: { kind: 'ready', entryId: ready.id, bytesDownloaded: 0, timingsMs: {} } };

    const joined = await joinFlight(deps.database, {
      backend,
      key: cacheKey,
      volumeId,
      ...workflowExecution(),
      activityId,
      imageId,
      policyVersion: deps.policyVersion,
    });
    switch (joined.kind) {
      case 'answered':
        return { verdict: joined.verdict, leader: (await findFlightOf(deps, admission))?.leaderVolumeId ?? null };
      case 'remembered':
        return { verdict: joined.verdict, leader: null };
      case 'collision':
        throw new Failure('CacheKeyCollision', { shortKey: cacheKey.short });
      case 'not-creating':
        throw new Failure('CreateCancelled', { volumeId });
      case 'waiting':
        // Who comes to a flight that a run has claimed need not start it; a retry makes sure that the run has not died.
        if (attempt > 1 || (await findFlightOf(deps, admission))?.runId === null)
          await ensureFlightRuns(deps, { backend, cacheKey, imageId, projectId });
        throw new CompleteAsyncError();
    }
  };
}

function findFlightOf(deps: ControlDependencies, { backend, cacheKey }: Pick<Admission, 'backend' | 'cacheKey'>) {
  return findFlight(deps.database, { backend, shortKey: cacheKey.short });
}

/**
 * Starts the flight, or finds it running. A run that has answered already serves nobody who joined after its answer: it closes in a moment, and
 * the caller comes again until a new run exists.
 */
async function ensureFlightRuns(deps: ControlDependencies, input: PopulateInput): Promise<void> {
  const workflowId = workflowIds.populate(input.backend, input.cacheKey.short);
  const handle = await deps.temporal.workflow.start(workflowTypes.populateImageCache, {
    workflowId,
    taskQueue: deps.queues.control,
    args: [input],
    workflowIdReusePolicy: 'ALLOW_DUPLICATE',
    workflowIdConflictPolicy: 'USE_EXISTING',
    staticSummary: `populate the cache of ${input.backend} with image ${input.imageId}`,
  });
  const flight = await findFlightOf(deps, input);
  if (flight?.answeredRunId === handle.firstExecutionRunId) throw new Failure('FlightClosing', { flight: workflowId });
}
