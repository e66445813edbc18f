import {
  abandonReservation,
  beginEntryDeletion,
  chooseVictimsForReservation,
  confirmEntryGone,
  listEntries,
  registerReady,
  reserveEntry as reserveEntryRow,
  reserveFreed,
  type ReservationOutcome,
} from '../../db/queries/cache-entries';
import { findFlight } from '../../db/queries/populations';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, EntryId } from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import type { FreedEntry, PopulateInput, Reservation } from '../../workflows/contract/population';
import { heartbeat } from '@temporalio/activity';
import type { ControlDependencies } from '../dependencies';
import { workflowExecution } from './admit-volume';
import { backendHeld } from './clone-volume';

export interface ReserveRequest {
  input: PopulateInput;
  flight: number;
}

/** Counts the entry's bytes against the backend's limits before the first one is written. Idempotent for one flight. Undo: `abandonEntry`. */
export function createReserveEntry(deps: ControlDependencies) {
  return async function reserveEntry(request: ReserveRequest): Promise<Reservation | { kind: 'no-room' }> {
    const reserved = reservationOf(await reserveEntryRow(deps.database, await wantedOf(deps, request)));
    await abandonAfterAnswer(deps, request, reserved);
    return reserved;
  };
}

/**
 * Retires and deletes victims for this very reservation, then turns their bytes into it in one transaction: the limits never overshoot.
 * All or nothing: where the victims would not be enough, nothing is evicted. Idempotent for one flight. Undo: `abandonEntry`.
 */
export function createMakeRoom(deps: ControlDependencies) {
  return async function makeRoom(request: ReserveRequest): Promise<Reservation> {
    const wanted = await wantedOf(deps, request);
    const chosen = await chooseVictimsForReservation(deps.database, wanted);
    const backend = backendHeld(deps, wanted.backend);
    for (const victim of chosen.kind === 'victims' ? chosen.entries : []) {
      await backend.ensureImageVolumeAbsent(victim.imageVolume);
      heartbeat({ stage: 'waiting', summary: `evicted image-volume ${victim.imageVolume}` });
    }
    const reserved = reservationOf(await reserveFreed(deps.database, wanted));
    await abandonAfterAnswer(deps, request, reserved);
    return reserved.kind === 'no-room' ? { kind: 'bypass', reason: 'no-room' } : reserved;
  };
}

/** A try that was given up and comes late may find its flight answered, and with it whoever would give the reservation up. */
async function abandonAfterAnswer(
  { database }: ControlDependencies,
  { input, flight }: ReserveRequest,
  reserved: Reservation | { kind: 'no-room' },
): Promise<void> {
  if (reserved.kind !== 'reserved') return;
  const row = await findFlight(database, { backend: input.backend, shortKey: input.cacheKey.short });
  if (row?.flight === flight && row.answered)
    await abandonReservation(database, { entryId: reserved.entry.id, flight });
}

/** What the limits are asked for: the image's guest-visible size, the most that its image-volume can take. */
async function wantedOf(deps: ControlDependencies, { input, flight }: ReserveRequest) {
  const { workflowId } = workflowExecution();
  const image = await deps.images.getImage(input.imageId);
  const bytes = Math.max(image.virtualSizeBytes ?? 0, image.sizeBytes ?? 0);
  return { backend: input.backend, key: input.cacheKey, bytes, flight, workflowId, policyVersion: deps.policyVersion };
}

function reservationOf(outcome: ReservationOutcome): Reservation | { kind: 'no-room' } {
  switch (outcome.kind) {
    case 'reserved':
      return { kind: 'reserved', entry: outcome.entry };
    case 'ready':
      return { kind: 'ready', entryId: outcome.entry.id, bytesDownloaded: 0, timingsMs: {} };
    case 'no-room':
      return { kind: 'no-room' };
    case 'too-large':
      return { kind: 'bypass', reason: 'too-large-for-cache' };
    case 'cache-off':
      return { kind: 'bypass', reason: 'cache-off' };
  }
}

export interface Registration {
  entryId: EntryId;
  virtualBytes: number;
  realBytes: number;
  costSeconds: number;
  input: PopulateInput;
}

/** `populating` -> `ready` by compare-and-set: from here on the entry can be acquired. Idempotent.
 *  @throws ParentUnusable when the reservation was given up meanwhile (final). */
export function createRegisterEntry(deps: ControlDependencies) {
  return async function registerEntry({ input, ...measured }: Registration): Promise<void> {
    const { backend, imageId, projectId } = input;
    const registered = await registerReady(deps.database, { ...measured, imageId, projectId });
    if (registered.kind === 'ready') return;
    const found = `behind an entry that is ${registered.state}`;
    throw new Failure('ParentUnusable', { backend, parent: measured.entryId, found });
  };
}

/** Gives up what this flight has reserved and not registered; nothing reserved is done. Idempotent. */
export function createAbandonEntry(deps: ControlDependencies) {
  return async function abandonEntry({
    backend,
    cacheKey,
    flight,
  }: {
    backend: BackendName;
    cacheKey: CacheKey;
    flight: number;
  }): Promise<void> {
    const populating = await listEntries(deps.database, {
      backend,
      shortKey: cacheKey.short,
      state: 'populating',
      limit: 1,
    });
    const own = populating.find(({ reservedFor }) => reservedFor === workflowExecution().workflowId);
    if (own) await abandonReservation(deps.database, { entryId: own.id, flight });
  };
}

/** Deletes a retired parent whose last clone is gone. Idempotent. */
export function createDeleteParent(deps: ControlDependencies, backend: BackendName) {
  return async function deleteParent({ entryId, imageVolume }: FreedEntry): Promise<void> {
    const begun = await beginEntryDeletion(deps.database, { entryId });
    // Acquired again or gone already: whoever holds it deletes it later.
    if (begun.kind !== 'deleting') return;
    await backendHeld(deps, backend).ensureImageVolumeAbsent(imageVolume);
    await confirmEntryGone(deps.database, { entryId });
  };
}
