import { failVolume as failVolumeRow, findVolume } from '../../db/volumes';
import type { FailureRecord } from '../../workflows/contract/failures';
import type { VolumeId } from '../../workflows/contract/ids';
import type { FreedEntry, Story } from '../../workflows/contract/population';
import type { CreateVolumeResult } from '../../workflows/contract/volume';
import type { ControlDependencies } from '../dependencies';
import { workflowExecution } from '../kit/workflow-execution';
import { findCompleted, goOnAfterReset } from '../kit/own-volume';
import { stopUnwantedFlight } from './stop-unwanted-flight';
import { resultOf } from '../kit/volume-result';

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
 * Ends a create that was undone: the lease is released, the row is `error` with the public message, or `deleted` when it was cancelled; the flight that nobody
 * waits for any more ends too, where the configuration says so. Idempotent.
 */
export function createFailVolume(deps: ControlDependencies) {
  return async function failVolume({ volumeId, story, failure }: FailVolumeRequest): Promise<EndedVolume> {
    const { runId } = workflowExecution();
    await goOnAfterReset(deps, volumeId);
    const ended = await failVolumeRow(deps.database, {
      volumeId,
      runId,
      to: failure === undefined ? 'deleted' : 'error',
      error: failure && { type: failure.type, message: failure.message },
      decision: {
        reason: failure?.message ?? 'cancelled',
        bytesDownloaded: story.bytesDownloaded,
        timingsMs: story.timingsMs,
      },
    });
    const completed = await findCompleted(deps, volumeId);
    if (completed === undefined) {
      const row = await findVolume(deps.database, { volumeId });
      const outcome = failure === undefined ? 'cancelled' : 'failed';
      deps.metrics.createEnded({ backend: row?.backend ?? 'unknown', outcome });
      if (row) await stopUnwantedFlight(deps, row);
      return ended;
    }
    const reason = 'it was available when it was to be given up';
    return { ...ended, completed: resultOf(completed, { ...story, reason }) };
  };
}
