import { setTimeout as delay } from 'node:timers/promises';
import { log } from '@temporalio/activity';
import { needsNextGeneration } from '../../db/entries/entries';
import { isFailure } from '../../workflows/contract/failures';
import type { Admission } from '../../workflows/contract/population';
import type { ControlDependencies } from '../dependencies';
import { ensureFlightRuns } from '../kit/ensure-flight-runs';
import { openFlight } from '../../db/join-flight';

/** A flight that has answered closes within milliseconds. */
const CLOSING_TRIES = 50;
const CLOSING_RETRY_MS = 100;

type Rolled = Pick<Admission, 'backend' | 'cacheKey' | 'imageId' | 'projectId' | 'imageName'>;

/**
 * Populates the key's next generation while its parents still have room, so that no create ever waits for it. Nobody
 * waits for this either: where it fails, the next create near the limit begins it again, and at the limit creates lead
 * the flight themselves.
 */
export function rollOverInBackground(deps: ControlDependencies, key: Rolled): void {
  rollOver(deps, key).catch((error: unknown) =>
    log.warn('the next generation is not populated yet', { ...key, error: String(error) }),
  );
}

async function rollOver(deps: ControlDependencies, key: Rolled): Promise<void> {
  const { database, policyVersion } = deps;
  const { backend, cacheKey, imageId } = key;
  if (!(await needsNextGeneration(database, { backend, key: cacheKey }))) return;
  const opened = await openFlight(database, { backend, key: cacheKey, imageId, policyVersion });
  if (opened.kind !== 'open' || opened.runId !== null) return;
  for (let tries = 1; ; tries += 1) {
    try {
      return await ensureFlightRuns(deps, key);
    } catch (error) {
      if (!isFailure(error, 'FlightClosing') || tries === CLOSING_TRIES) throw error;
      await delay(CLOSING_RETRY_MS);
    }
  }
}
