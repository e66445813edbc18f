import { releaseFlattened, selectClones } from '../../db/entries/clones';
import { findEntry } from '../../db/entries/entries';
import { findVolume } from '../../db/volumes';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, VolumeId, EntryId } from '../../workflows/contract/ids';
import type { FreedEntry } from '../../workflows/contract/population';
import type { BackendDependencies, ControlDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { createHeartbeatReporter, keepingAlive } from '../kit/heartbeat-reporter';
import { workflowExecution } from '../kit/runs';

export interface FlattenOutcome {
  /** False: it was gone, or needed no parent. */
  flattened: boolean;
  /** The retired parent that may be deleted now, and what that gives back. */
  freedEntry?: FreedEntry;
  reclaimedBytes: number;
}

/**
 * Makes an available volume independent of its parent and ends its hold on it; how to attach it stays the same.
 * Heartbeats. Idempotent.
 * @throws VolumeInUse, NoSpace, InvalidRequest (final: it stays as it is); ToolFailed, BackendUnavailable (retried).
 */
export function createFlattenVolume(deps: BackendDependencies, name: BackendName) {
  return async function flattenVolume({ volumeId }: { volumeId: VolumeId }): Promise<FlattenOutcome> {
    const row = await findVolume(deps.database, { volumeId, scope: 'all projects' });
    if (row?.state !== 'available') return { flattened: false, reclaimedBytes: 0 };
    if (row.attachedTo !== null) throw new Failure('VolumeInUse', { volumeId, by: row.attachedTo });
    const flattened = row.holdsEntry && (await flatten(deps, name, volumeId));
    const source = workflowExecution();
    const { freedEntry } = await releaseFlattened(deps.database, { volumeId, contentId: row.contentId, source });
    const parent = freedEntry && (await findEntry(deps.database, freedEntry));
    return { flattened, reclaimedBytes: parent?.realBytes ?? 0, ...(freedEntry && { freedEntry }) };
  };
}

async function flatten({ config, ...deps }: BackendDependencies, name: BackendName, volumeId: VolumeId) {
  const backend = backendHeld({ config, ...deps }, name);
  if (backend.ensureFlattened === undefined)
    throw new Failure('InvalidRequest', { field: 'flatten', value: 'true', allowed: `false on backend ${name}` });
  const first = { stage: 'converting', summary: `flattening volume ${volumeId}` } as const;
  return await keepingAlive(createHeartbeatReporter(), first, async (reporter) => {
    const found = await backend.ensureFlattened?.(volumeId, {
      bytesPerSecond: config.schedules.scrubRate,
      onProgress: (fraction) =>
        reporter.report({ ...first, summary: `${first.summary}: ${Math.round(100 * fraction)} % of it is its own` }),
      signal: reporter.signal,
    });
    return found === 'flattened';
  });
}

/** Clones that one call answers with. */
const CLONES_AT_ONCE = 100;
/** Live clones that hold an entry, by id, after `afterVolumeId`; none when there are no more. */
export function createListClones({ database }: ControlDependencies) {
  return async function listClones(request: { entryId: EntryId; afterVolumeId?: VolumeId }): Promise<VolumeId[]> {
    return await selectClones(database, { ...request, limit: CLONES_AT_ONCE });
  };
}
