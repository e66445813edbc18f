import { WorkflowNotFoundError } from '@temporalio/client';
import { giveUpFlight } from '../../db/flights';
import { findVolume } from '../../db/volumes';
import { unlessThrown } from '../../lib/unless-thrown';
import type { FailureRecord } from '../../workflows/contract/failures';
import { Failure } from '../../workflows/contract/failures';
import type { VolumeId, BackendName } from '../../workflows/contract/ids';
import type { FreedEntry, Story } from '../../workflows/contract/population';
import type { CreateVolumeResult } from '../../workflows/contract/volume';
import type { ControlDependencies } from '../dependencies';
import { workflowExecution } from '../kit/runs';
import { findCompleted, goOnAfterReset, resultOf } from '../kit/created-volume';
import { volumeIdOf } from './create-volume-request';
import { markFailed } from '../../db/creates';

export interface FailVolumeRequest {
  volumeId: VolumeId;
  story: Story;
  /** Absent for a cancelled create, whose row ends `deleted`. */
  failure?: FailureRecord;
}

export interface EndedVolume {
  freedEntry?: FreedEntry;
  /** The create was completed after all: its answer was lost, or the cancel came when it was done. */
  completed?: CreateVolumeResult;
}

/**
 * Ends a create that was undone: the lease is released, the row is `error` with the public message, or `deleted` when
 * it was cancelled. The flight that nobody waits for any more ends too, where the configuration says so. Idempotent.
 */
export function createFailVolume(deps: ControlDependencies) {
  return async function failVolume({ volumeId, story, failure }: FailVolumeRequest): Promise<EndedVolume> {
    const { runId } = workflowExecution();
    const { bytesDownloaded, timingsMs } = story;
    await goOnAfterReset(deps, [volumeId]);
    const ended = await markFailed(deps.database, {
      volumeId,
      runId,
      to: failure === undefined ? 'deleted' : 'error',
      error: failure && { type: failure.type, message: failure.message },
      decision: { reason: failure?.message ?? 'cancelled', bytesDownloaded, timingsMs },
    });
    const completed = await findCompleted(deps, volumeId);
    if (completed === undefined) {
      const row = await findVolume(deps.database, { volumeId, scope: 'all projects' });
      const outcome = failure === undefined ? 'cancelled' : 'failed';
      deps.metrics.createEnded({ backend: row?.backend ?? 'unknown', outcome }, secondsOf(story));
      if (row?.shortKey) await stopUnwantedFlight(deps, { backend: row.backend, shortKey: row.shortKey });
      return ended;
    }
    const reason = 'it was available when it was to be given up';
    return { ...ended, completed: resultOf(completed, { ...story, reason }) };
  };
}

/** By this worker's clock, which a create that has waited long does not need to the second. */
function secondsOf({ startedAtMs }: Pick<Story, 'startedAtMs'>): { seconds: number } {
  return { seconds: Math.max(Date.now() - startedAtMs, 0) / 1000 };
}

/**
 * Ends the key's flight where `population.whenNobodyWaits` says so: a create began it, none waits for it any more, and
 * its bytes have not all come. All that it made is undone; the next create of the image leads the next flight.
 * Idempotent.
 */
export async function stopUnwantedFlight(
  { config, database, temporal, queues }: ControlDependencies,
  { backend, shortKey }: { backend: BackendName; shortKey: string },
): Promise<void> {
  if (config.population.whenNobodyWaits === 'finish') return;
  const workflowId = queues.ids.populate(backend, shortKey);
  const given = await giveUpFlight(database, { backend, shortKey, workflowId });
  // A run that has not claimed its flight yet finds it answered and closes.
  if (!given?.runId) return;
  await unlessThrown(WorkflowNotFoundError, temporal.workflow.getHandle(workflowId, given.runId).cancel());
}

/**
 * @param parse reads the request of the create's kind.
 * @returns the volume that this very run has admitted and not undone; null when its admission inserted nothing.
 */
export function createFindAdmitted(deps: ControlDependencies, parse: (input: unknown) => VolumeRequest) {
  return async function findAdmitted(input: unknown): Promise<{ volumeId: VolumeId; backend: BackendName } | null> {
    const { workflowId } = workflowExecution();
    const request = parseOrNone(input, parse);
    if (request === undefined) return null;
    const volumeId = volumeIdOf(workflowId, request, deps.queues.prefix);
    await goOnAfterReset(deps, [volumeId]);
    const row = await findVolume(deps.database, { volumeId, scope: 'all projects' });
    const isOwn = row?.workflowId === workflowId && ['creating', 'available', 'deleting'].includes(row.state);
    return isOwn ? { volumeId, backend: row.backend } : null;
  };
}

type VolumeRequest = Parameters<typeof volumeIdOf>[1];

/** @returns undefined for what is no valid request: that was never admitted. */
function parseOrNone(input: unknown, parse: (input: unknown) => VolumeRequest): VolumeRequest | undefined {
  try {
    return parse(input);
  } catch (error) {
    if (error instanceof Failure) return undefined;
    throw error;
  }
}
