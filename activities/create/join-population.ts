import { activityInfo, CompleteAsyncError, heartbeat } from '@temporalio/activity';
import { listEntries } from '../../db/entries/entries';
import { Failure } from '../../workflows/contract/failures';
import type { VolumeId } from '../../workflows/contract/ids';
import type { Admission, FlightVerdict, PopulateInput } from '../../workflows/contract/population';
import type { ControlDependencies } from '../dependencies';
import { ensureFlightRuns, findFlightOf, flightIdOf } from '../kit/ensure-flight-runs';
import { linkFlight } from '../kit/link-flight';
import { workflowExecution } from '../kit/runs';
import { asOwner, findCompleted, goOnAfterReset } from '../kit/created-volume';
import { joinFlight } from '../../db/join-flight';

export interface JoinRequest {
  volumeId: VolumeId;
  /** Further volumes of the same run, which waits for all of them with one activity. */
  others?: VolumeId[];
  admission: Omit<Admission, 'name'>;
  /** Id of the activity that waits: chosen by the workflow, so that a verdict reaches it in any state. */
  activityId: string;
  /** Whether a ready entry is there that takes no more clones: the flight makes the next generation. */
  atCloneLimit: boolean;
}

/** Without an answer the next step is to acquire again. */
export type JoinOutcome = { kind: 'waiting'; flight: number } | { kind: 'answered'; answer: FlightVerdict | null };

/**
 * Joins the flight of the volume's cache key and makes sure that it runs. Writes down which activity the flight's end
 * completes. Idempotent.
 * @throws FlightClosing (retried at once), CreateCancelled, CacheKeyCollision (final).
 */
export function createJoinPopulation(deps: ControlDependencies) {
  return async function joinPopulation(joining: JoinRequest): Promise<JoinOutcome> {
    const { volumeId, others = [], admission, activityId, atCloneLimit } = joining;
    const volumeIds = [volumeId, ...others];
    const { backend, cacheKey, imageId } = admission;
    const [ready] = await listEntries(deps.database, { backend, shortKey: cacheKey.short, state: 'ready', limit: 1 });
    // A flight that ended between acquire and join has left what it would answer.
    if (ready && !atCloneLimit) {
      const verdict = { kind: 'ready', entryId: ready.id, bytesDownloaded: 0, timingsMs: {} } as const;
      return { kind: 'answered', answer: { leader: null, verdict } };
    }
    const { database, policyVersion } = deps;
    const request = { backend, key: cacheKey, volumeIds, ...workflowExecution(), activityId, imageId, policyVersion };
    const joined = await asOwner(deps, volumeIds, () => joinFlight(database, request));
    switch (joined.kind) {
      case 'answered': {
        const leader = (await findFlightOf(deps, admission))?.leaderVolumeId ?? null;
        return { kind: 'answered', answer: { verdict: joined.verdict, leader } };
      }
      case 'remembered':
        return { kind: 'answered', answer: { verdict: joined.verdict, leader: null } };
      case 'collision':
        throw new Failure('CacheKeyCollision', { shortKey: cacheKey.short });
      case 'not-creating':
        if (await findCompleted(deps, volumeId)) return { kind: 'answered', answer: null };
        throw new Failure('CreateCancelled', { volumeId });
      case 'waiting':
        // A flight that a run has claimed need not be started.
        if (joined.runId === null) await ensureFlightRuns(deps, admission);
        if (joined.role === 'joined')
          await linkFlight(deps, { workflowId: flightIdOf(deps, admission), flight: joined.flight });
        return { kind: 'waiting', flight: joined.flight };
    }
  };
}

export interface AwaitRequest {
  /** Absent where an older version has scheduled the step. */
  volumeId?: VolumeId;
  others?: VolumeId[];
  /** Of a create, or of another workflow that waits. */
  admission: PopulateInput & Pick<Admission, 'imageName'>;
  flight: number;
}

/**
 * Waits for a flight's verdict without holding a slot: the flight's last activity completes this one from outside, by
 * workflow, run and activity id, whether it runs, backs off or was never picked up. The start-to-close timeout is the
 * safety timer: the retry reads the row again and makes sure that the flight has not died. A verdict that was overtaken
 * by the next flight is `null`: acquire again.
 */
export function createAwaitVerdict(deps: ControlDependencies) {
  return async function awaitVerdict({ volumeId, others = [], admission, flight }: AwaitRequest) {
    // Before the row is read: an answer that comes after that finds this run.
    if (volumeId !== undefined) await goOnAfterReset(deps, [volumeId, ...others]);
    const row = await findFlightOf(deps, admission);
    if (row?.flight !== flight) return null;
    if (row.verdict) return { verdict: row.verdict, leader: row.leaderVolumeId } satisfies FlightVerdict;
    if (activityInfo().attempt > 1) {
      await ensureFlightRuns(deps, admission);
      // The UI shows the attempts before as failures.
      const summary = `still waiting for ${flightIdOf(deps, admission)}, which runs: the earlier timeouts were reminders to check it, not failures`;
      heartbeat({ stage: 'waiting', summary });
    }
    throw new CompleteAsyncError();
  };
}
