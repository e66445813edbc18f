import { insertVolumes, type InsertVolumesOutcome } from '../../db/creates';
import type { VolumeRow } from '../../db/schema';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, VolumeId } from '../../workflows/contract/ids';
import type { BulkAdmission, NamedVolume } from '../../workflows/contract/population';
import type { MadeVolume } from '../../workflows/contract/volume';
import type { ControlDependencies } from '../dependencies';
import { isDead, workflowExecution } from '../kit/runs';
import { goOnAfterReset, resultOf } from '../kit/created-volume';
import { readVolumes } from '../../db/volumes';
import { checkRequest, endRefused, sharedRow } from './admit-volume';
import { refusalOf } from './insert-row';
import { namedVolumesOf, parseCreateVolumesRequest } from './create-volume-request';

/** Dead runs whose rows one admission takes over: each costs a question to Temporal. */
const MAX_DEAD_RUNS = 10;

/**
 * As `admitVolume` for each of several volumes: all of them or none. Idempotent for one run. A refusal leaves no volume
 * row and one decision record. Undo: `failVolumes`.
 * @throws as `admitVolume`.
 */
export function createAdmitVolumes(deps: ControlDependencies) {
  return async function admitVolumes(input: unknown): Promise<BulkAdmission> {
    const startedAtMs = performance.now();
    let volumes: NamedVolume[] = [];
    try {
      const { onFailure = 'keep', ...request } = parseCreateVolumesRequest(input);
      volumes = namedVolumesOf(workflowExecution().workflowId, request);
      const checked = { request, volumeId: firstOf(volumes), startedAtMs, count: volumes.length };
      const { admission, image } = await checkRequest(deps, checked);
      if (admission.bypass !== null) throw uncached(admission.backend);
      const { kind: _, ...admitted } = await insertAll(deps, {
        ...(await sharedRow(deps, { admission, request, image })),
        // As the request for one such volume would have it.
        volumes: volumes.map(({ volumeId, name }) => ({ volumeId, name, own: { name } })),
        deadRunIds: [],
      });
      const made = new Map(admitted.available.map((row) => [row.id, row]));
      return {
        ...admission,
        volumes: volumes.filter(({ volumeId }) => !made.has(volumeId)),
        available: admitted.available.map(madeVolumeOf),
        order: volumes.map(({ volumeId }) => volumeId),
        onFailure,
      };
    } catch (error) {
      if (error instanceof Failure && error.isFinal)
        await endRefused(deps, { input, volumeIds: volumes.map(({ volumeId }) => volumeId), failure: error });
      throw error;
    }
  };
}

function firstOf([first]: NamedVolume[]): VolumeId {
  if (first === undefined) throw new Error('a request for several volumes has none');
  return first.volumeId;
}

/** Without its image-volume each volume would take a whole write of the image. */
function uncached(backend: BackendName): Failure {
  const allowed = 'a backend whose cache is on: the volumes of one request are clones';
  return new Failure('InvalidRequest', { field: 'backend', value: backend, allowed });
}

/** The rows of dead runs are taken over at once, under any workflow id. */
async function insertAll(
  deps: ControlDependencies,
  rows: Parameters<typeof insertVolumes>[1],
): Promise<InsertVolumesOutcome & { kind: 'admitted' }> {
  const { backend, projectId, volumes } = rows;
  const deadRunIds = [...rows.deadRunIds];
  for (;;) {
    const inserted = await insertVolumes(deps.database, { ...rows, deadRunIds });
    if (inserted.kind === 'admitted') return inserted;
    if (inserted.kind === 'busy' && deadRunIds.length < MAX_DEAD_RUNS && (await isDead(deps, inserted))) {
      deadRunIds.push(inserted.runId);
      continue;
    }
    const volumeId = 'volumeId' in inserted ? inserted.volumeId : firstOf(volumes);
    throw refusalOf(inserted, { volumeId, admission: { backend, projectId } });
  }
}

/** @throws VolumeNotFound when the row was never completed (a bug shown as such). */
export function madeVolumeOf(row: VolumeRow): MadeVolume {
  const { volumeId, name, sizeBytes, outcome, connection } = resultOf(row, {
    reason: '',
    bytesDownloaded: 0,
    timingsMs: {},
  });
  return { volumeId, name, sizeBytes, outcome, connection };
}

/** @returns those that this very run has admitted and not undone; null when its admission inserted nothing. */
export function createFindAdmittedVolumes(deps: ControlDependencies) {
  return async function findAdmittedVolumes(
    input: unknown,
  ): Promise<{ volumeIds: VolumeId[]; admission: { backend: BackendName; shortKey: string } } | null> {
    const { workflowId } = workflowExecution();
    const volumeIds = namesIn(workflowId, input).map(({ volumeId }) => volumeId);
    await goOnAfterReset(deps, volumeIds);
    const rows = [...(await readVolumes(deps.database, volumeIds)).values()];
    const own = rows.filter((row) => row.workflowId === workflowId && ['creating', 'deleting'].includes(row.state));
    const [first] = own;
    if (first === undefined) return null;
    const { backend, shortKey } = first;
    if (shortKey === null) return null;
    return { volumeIds: own.map(({ id }) => id), admission: { backend, shortKey } };
  };
}

/** @returns none for what is no valid request: that was never admitted. */
function namesIn(workflowId: string, input: unknown): NamedVolume[] {
  try {
    return namedVolumesOf(workflowId, parseCreateVolumesRequest(input));
  } catch (error) {
    if (error instanceof Failure) return [];
    throw error;
  }
}
