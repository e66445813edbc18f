import { cancellationSignal } from '@temporalio/activity';
import { addImageToReady } from '../../db/entries/entry-images';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, EntryId, ImageId, ProjectId } from '../../workflows/contract/ids';
import type { CacheSeed, PopulateInput, Verdict } from '../../workflows/contract/population';
import type { ControlDependencies } from '../dependencies';
import { cacheKeyOf } from '../kit/cache-key';
import { checkImage } from '../kit/check-image';
import { ensureFlightRuns, findFlightOf, flightIdOf } from '../kit/ensure-flight-runs';
import { workflowExecution } from '../kit/runs';
import { openFlight } from '../../db/join-flight';

export type Warming =
  | { kind: 'ready'; entryId: EntryId }
  /** A refusal of these bytes that is remembered. */
  | { kind: 'answered'; verdict: Verdict }
  | {
      kind: 'flying';
      source: PopulateInput;
      flight: number;
      flightWorkflowId: string;
      /**
       * Milliseconds after which a waiter checks whether its flight still runs. Absent: an older version opened the
       * flight and recorded no waiter.
       */
      safetyIntervalMs?: number;
    };

export interface WarmingRequest {
  imageId: ImageId;
  backend: BackendName;
  /**
   * The activity that will wait for the flight, as the workflow has named it; absent in runs that an older version
   * began.
   */
  activityId?: string;
  /** For the flight, where this opens one. */
  seed?: CacheSeed;
}

/**
 * Finds a ready entry with room for the image, or opens the flight that makes one and lets it run; creates that come
 * meanwhile join it. Writes down which activity the flight's end completes. Idempotent.
 * @throws ImageNotFound, ImageNotActive, ImageUnsupported, ImageRefused, CacheKeyCollision (final); FlightClosing,
 *   ImageServiceUnavailable (retried).
 */
export function createOpenWarming(deps: ControlDependencies) {
  return async function openWarming({ imageId, backend, activityId, seed }: WarmingRequest): Promise<Warming> {
    const image = await deps.images.getImage(imageId, cancellationSignal());
    checkImage(deps, image);
    const projectId = image.owner ?? (deps.internalTenant.projectId as ProjectId);
    const key = cacheKeyOf(image, deps.signatures.signatureOf(image));
    const entryId = await addImageToReady(deps.database, { backend, key, imageId: image.id, projectId });
    if (entryId !== undefined) return { kind: 'ready', entryId };
    const { database, policyVersion } = deps;
    const waiter = activityId === undefined ? undefined : { ...workflowExecution(), activityId };
    const opened = await openFlight(database, { backend, key, imageId: image.id, policyVersion, waiter });
    switch (opened.kind) {
      case 'collision':
        throw new Failure('CacheKeyCollision', { shortKey: key.short });
      case 'remembered':
        return { kind: 'answered', verdict: opened.verdict };
      case 'open': {
        const source = { backend, cacheKey: key, imageId: image.id, projectId, ...(seed && { seed }) };
        if (opened.runId === null) await ensureFlightRuns(deps, source);
        const { flight } = opened;
        const safety = waiter && { safetyIntervalMs: deps.config.createSafetyInterval };
        return { kind: 'flying', source, flight, flightWorkflowId: flightIdOf(deps, source), ...safety };
      }
    }
  };
}

/**
 * Asks for the verdict of a flight, for a run that an older version began: newer runs wait by `awaitVerdict`. It keeps
 * no slot while it waits.
 * @returns null when the flight was overtaken by the next one: open the warming again.
 * @throws StillRunning (retried).
 */
export function createAwaitWarming(deps: ControlDependencies) {
  return async function awaitWarming({
    source,
    flight,
    flightWorkflowId,
  }: Extract<Warming, { kind: 'flying' }>): Promise<Verdict | null> {
    const row = await findFlightOf(deps, source);
    if (row?.flight !== flight) return null;
    if (row.verdict) return row.verdict;
    await ensureFlightRuns(deps, source);
    throw new Failure('StillRunning', { workflowId: flightWorkflowId });
  };
}
