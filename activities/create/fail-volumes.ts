import { markAllFailed, removeGivenUp, type FailedCreate } from '../../db/creates';
import type { FailureRecord } from '../../workflows/contract/failures';
import type { BackendName, VolumeId } from '../../workflows/contract/ids';
import type { FreedEntry, Story } from '../../workflows/contract/population';
import type { MadeVolume } from '../../workflows/contract/volume';
import { createSemaphore } from '../../lib/semaphore';
import { settleAll } from '../../lib/settle-all';
import type { BackendDependencies, ControlDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { createHeartbeatReporter, keepingAlive } from '../kit/heartbeat-reporter';
import { workflowExecution } from '../kit/runs';
import { findCompletedOf, goOnAfterReset } from '../kit/created-volume';
import { madeVolumeOf } from './admit-volumes';
import { stopUnwantedFlight } from './fail-volume';

/** Volumes that one statement ends, whose rows are locked together while their bytes are removed. */
const CHUNK = 50;
const REMOVALS_AT_ONCE = 8;

/** As `removeVolume` for each of several volumes. Idempotent. Heartbeats. */
export function createRemoveVolumes(deps: BackendDependencies, name: BackendName) {
  return async function removeVolumes({ volumeIds }: { volumeIds: VolumeId[] }): Promise<void> {
    const { runId } = workflowExecution();
    const backend = backendHeld(deps, name);
    const places = createSemaphore(REMOVALS_AT_ONCE);
    const told = (done: number) =>
      ({ stage: 'undoing', summary: `${done} of ${volumeIds.length} volumes removed` }) as const;
    await goOnAfterReset(deps, volumeIds);
    await keepingAlive(createHeartbeatReporter(), told(0), async (reporter) => {
      const { signal } = reporter;
      const removeAll = (given: VolumeId[]) =>
        settleAll(
          given.map((volumeId) =>
            places.run(() => backend.ensureVolumeAbsent(volumeId), { onWait: () => undefined, signal }),
          ),
        );
      for (let at = 0; at < volumeIds.length; at += CHUNK) {
        const chunk = volumeIds.slice(at, at + CHUNK);
        await removeGivenUp(deps.database, { volumeIds: chunk, runId, remove: removeAll });
        reporter.report(told(Math.min(at + CHUNK, volumeIds.length)));
      }
    });
  };
}

export interface FailVolumesRequest {
  volumeIds: VolumeId[];
  story: Pick<Story, 'timingsMs'>;
  admission: { backend: BackendName; shortKey: string };
  /** Failure of each volume, by its id, where it is not that of the others. */
  failures?: Record<VolumeId, FailureRecord>;
  /** Failure of the others; absent for a cancelled run, whose rows end `deleted`. */
  failure?: FailureRecord;
}

export interface EndedVolumes {
  freedEntries: FreedEntry[];
  /** Those that were completed after all: an answer was lost, or the cancel came when they were done. */
  completed: MadeVolume[];
}

/** As `failVolume` for each of several volumes. Idempotent. */
export function createFailVolumes(deps: ControlDependencies) {
  return async function failVolumes(request: FailVolumesRequest): Promise<EndedVolumes> {
    const { volumeIds, admission } = request;
    const { runId } = workflowExecution();
    await goOnAfterReset(deps, volumeIds);
    const ended: EndedVolumes = { freedEntries: [], completed: [] };
    for (let at = 0; at < volumeIds.length; at += CHUNK) {
      const chunk = volumeIds.slice(at, at + CHUNK);
      const endings = chunk.map((volumeId) => endingOf(volumeId, request));
      ended.freedEntries.push(...(await markAllFailed(deps.database, { runId, endings, ofSeveral: true })));
      const completed = await findCompletedOf(deps, chunk);
      ended.completed.push(...[...completed.values()].map(madeVolumeOf));
      for (const { volumeId, error } of endings)
        if (!completed.has(volumeId))
          deps.metrics.createEnded({
            backend: admission.backend,
            outcome: error === undefined ? 'cancelled' : 'failed',
          });
    }
    await stopUnwantedFlight(deps, admission);
    return ended;
  };
}

function endingOf(volumeId: VolumeId, { failures, failure: common, story }: FailVolumesRequest): FailedCreate {
  const { timingsMs } = story;
  const failure = failures?.[volumeId] ?? common;
  return {
    volumeId,
    to: failure === undefined ? 'deleted' : 'error',
    error: failure && { type: failure.type, message: failure.message },
    decision: { reason: failure?.message ?? 'cancelled', timingsMs },
  };
}
