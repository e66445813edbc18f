import { acquireEntry } from '../../db/acquire';
import { Failure, isFailure } from '../../workflows/contract/failures';
import type { VolumeId } from '../../workflows/contract/ids';
import type { AcquireOutcome, Admission, CloneOutcome, LeasedEntry, Story } from '../../workflows/contract/population';
import type { VolumeBackend } from '../backends/backend';
import type { ControlDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { workflowExecution } from '../kit/runs';
import { asOwner, complete, findCompleted, markerOf, resultOf, takeSize } from '../kit/created-volume';
import { rollOverInBackground } from './roll-over';
import { giveUpParent } from '../kit/give-up-parent';

export interface AcquireRequest {
  volumeId: VolumeId;
  admission: Admission;
  story: Story;
}

export interface CloneRequest extends AcquireRequest {
  entry: LeasedEntry;
}

/**
 * Leases a ready entry in one statement and, where this worker holds the backend and its clone is instant, clones and
 * completes too. Idempotent: for one volume it answers the same entry and the same volume again. Undo: `removeVolume`,
 * `failVolume`.
 * @throws CreateCancelled, CacheKeyCollision, ParentUnusable, QuotaExceeded (final).
 */
export function createAcquireAndClone(deps: ControlDependencies) {
  return async function acquireAndClone({ volumeId, admission, story }: AcquireRequest): Promise<AcquireOutcome> {
    const startedAtMs = performance.now();
    const { runId } = workflowExecution();
    const { backend, cacheKey } = admission;
    const held = deps.backends.get(backend);
    const cloneLimit = held?.capabilities.cloneLimit;
    const acquired = await asOwner(deps, [volumeId], () =>
      acquireEntry(deps.database, { volumeId, runId, backend, key: cacheKey, cloneLimit }),
    );
    if (acquired.kind === 'cold') return { kind: 'cold', atCloneLimit: acquired.atCloneLimit };
    if (acquired.kind === 'collision') throw new Failure('CacheKeyCollision', { shortKey: cacheKey.short });
    if (acquired.kind === 'not-creating') {
      // A try whose answer was lost, or the run before a reset, has completed the volume; else it is not this run's any
      // more.
      const completed = await findCompleted(deps, volumeId);
      if (completed === undefined) throw new Failure('CreateCancelled', { volumeId });
      return { kind: 'cloned', result: resultOf(completed, story) };
    }

    story.timingsMs.acquire = Math.round(performance.now() - startedAtMs);
    if (acquired.nearCloneLimit) rollOverInBackground(deps, admission);
    if (held?.capabilities.clone !== 'instant') return { kind: 'leased', entry: acquired.entry };
    try {
      const { entry } = acquired;
      return await cloneAndComplete(deps, held, { volumeId, admission, story, entry, stepStartedAtMs: startedAtMs });
    } catch (error) {
      // A backend's passing trouble is for the retries of an activity of its own, which hold up no workflow task.
      if (isFailure(error, 'BackendUnavailable')) return { kind: 'leased', entry: acquired.entry };
      throw error;
    }
  };
}

/**
 * Clones a leased parent and completes the volume; on a worker that holds the backend. Idempotent. Undo:
 * `removeVolume`.
 */
export function createCloneVolume(deps: ControlDependencies) {
  return async function cloneVolume(request: CloneRequest): Promise<CloneOutcome> {
    return await cloneAndComplete(deps, backendHeld(deps, request.admission.backend), request);
  };
}

async function cloneAndComplete(
  deps: ControlDependencies,
  backend: VolumeBackend,
  request: CloneRequest & { stepStartedAtMs?: number },
): Promise<CloneOutcome> {
  const { volumeId, story, entry } = request;
  const startedAtMs = performance.now();
  const { stepStartedAtMs = startedAtMs } = request;
  const marker = markerOf(deps, request, entry.virtualBytes);
  await takeSize(deps, request, entry.virtualBytes);
  try {
    const connection = await backend.ensureClone(entry.imageVolume, marker);
    story.timingsMs.clone = Math.round(performance.now() - startedAtMs);
    return {
      kind: 'cloned',
      ...(await complete(deps, { volumeId, story, sizeBytes: marker.sizeBytes, connection, backend, stepStartedAtMs })),
    };
  } catch (error) {
    const [freedEntry] = await giveUpParent(deps, backend, { ...request, volumeIds: [volumeId], error });
    return { kind: 'lost', ...(freedEntry && { freedEntry }) };
  }
}
