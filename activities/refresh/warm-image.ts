import { setTimeout as delay } from 'node:timers/promises';
import { activityInfo, cancellationSignal, heartbeat } from '@temporalio/activity';
import { serveFromReady } from '../../db/queries/entry-images';
import { openFlight } from '../../db/queries/populations';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, EntryId, ImageId, ProjectId } from '../../workflows/contract/ids';
import type { PopulateInput, Verdict } from '../../workflows/contract/population';
import type { ControlDependencies } from '../dependencies';
import { cacheKeyOf } from '../records/cache-key';
import { checkImage } from '../records/check-image';
import { ensureFlightRuns, findFlightOf, flightIdOf } from '../records/ensure-flight-runs';

export type Warming =
  | { kind: 'ready'; entryId: EntryId }
  /** A refusal of these bytes that is remembered. */
  | { kind: 'answered'; verdict: Verdict }
  | { kind: 'flying'; source: PopulateInput; flight: number; flightWorkflowId: string };

/**
 * Finds a ready entry with room for the image, or opens the flight that makes one and lets it run; creates that come meanwhile join it. Idempotent.
 * @throws ImageNotFound, ImageNotActive, ImageUnsupported, ImageRefused, CacheKeyCollision (final); FlightClosing, ImageServiceUnavailable (retried).
 */
export function createOpenWarming(deps: ControlDependencies) {
  return async function openWarming({
    imageId,
    backend,
  }: {
    imageId: ImageId;
    backend: BackendName;
  }): Promise<Warming> {
    const image = await deps.images.getImage(imageId, cancellationSignal());
    checkImage(deps, image);
    const projectId = image.owner ?? (deps.config.internalTenant.projectId as ProjectId);
    const key = cacheKeyOf(image);
    const entryId = await serveFromReady(deps.database, { backend, key, imageId: image.id, projectId });
    if (entryId !== undefined) return { kind: 'ready', entryId };
    const { database, policyVersion } = deps;
    const opened = await openFlight(database, { backend, key, imageId: image.id, policyVersion });
    switch (opened.kind) {
      case 'collision':
        throw new Failure('CacheKeyCollision', { shortKey: key.short });
      case 'remembered':
        return { kind: 'answered', verdict: opened.verdict };
      case 'open': {
        const source = { backend, cacheKey: key, imageId: image.id, projectId };
        if (opened.runId === null) await ensureFlightRuns(deps, source);
        return { kind: 'flying', source, flight: opened.flight, flightWorkflowId: flightIdOf(source) };
      }
    }
  };
}

/** How often the flight's row is looked at; each time heartbeats. */
const LOOK_MS = 500;

/**
 * Waits for the verdict of a flight. A flight whose run has died is started again after the safety interval.
 * @returns null when the flight was overtaken by the next one: look again.
 */
export function createAwaitWarming(deps: ControlDependencies) {
  return async function awaitWarming({
    source,
    flight,
    flightWorkflowId,
  }: Extract<Warming, { kind: 'flying' }>): Promise<Verdict | null> {
    let ensureAtMs = Date.now() + (activityInfo().attempt > 1 ? 0 : deps.config.createSafetyInterval);
    for (;;) {
      const row = await findFlightOf(deps, source);
      if (row?.flight !== flight) return null;
      if (row.verdict) return row.verdict;
      heartbeat({ stage: 'waiting', summary: `waiting for ${flightWorkflowId}, flight ${flight}`, flightWorkflowId });
      if (Date.now() >= ensureAtMs) {
        await ensureFlightRuns(deps, source);
        ensureAtMs = Date.now() + deps.config.createSafetyInterval;
      }
      await delay(LOOK_MS, undefined, { signal: cancellationSignal() });
    }
  };
}
