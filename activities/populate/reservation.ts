import { heartbeat } from '@temporalio/activity';
import {
  abandonReservation,
  listEntries,
  registerReady,
  insertPopulatingEntry,
  reserveFreed,
} from '../../db/entries/entries';
import { findFlight } from '../../db/flights';
import { roundUpTo, SECTOR_BYTES } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, EntryId } from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import type { NotCached, PopulateInput, Reservation } from '../../workflows/contract/population';
import type { ControlDependencies } from '../dependencies';
import { deleteVictims, reservationOf } from '../kit/reserve-inspected';
import { workflowExecution } from '../kit/runs';

export interface ReserveRequest {
  input: PopulateInput;
  flight: number;
}

/** Counts the entry's bytes against the backend's limits before the first one is written. Idempotent for one flight. Undo: `abandonEntry`. */
export function createReserveEntry(deps: ControlDependencies) {
  return async function reserveEntry(request: ReserveRequest): Promise<Reservation | { kind: 'no-room' }> {
    const reserved = reservationOf(await insertPopulatingEntry(deps.database, await wantedOf(deps, request)));
    await abandonAfterAnswer(deps, request, reserved);
    return reserved.kind === 'reserved' && deps.backends.has(request.input.backend)
      ? { ...reserved, hostId: deps.ownHost }
      : reserved;
  };
}

/**
 * Retires and deletes victims for this very reservation, by the policy that the evictor has, then turns their bytes into it in one transaction: the
 * limits never overshoot. All or nothing: where the victims would not be enough, nothing is evicted. Where nothing but parents of live clones is left,
 * these leave the limits as long as the backend's free space allows. Idempotent for one flight. Undo: `abandonEntry`.
 */
export function createMakeRoom(deps: ControlDependencies) {
  return async function makeRoom(request: ReserveRequest): Promise<Reservation> {
    const wanted = await wantedOf(deps, request);
    const freedEntryIds = await deleteVictims(deps, wanted, heartbeat);
    const reserved = reservationOf(await reserveFreed(deps.database, { ...wanted, freedEntryIds }));
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

/** What the limits are asked for: the image's guest-visible size as its record tells it, the most that its image-volume can take; see `reserveInspected`. */
async function wantedOf(deps: ControlDependencies, { input, flight }: ReserveRequest) {
  const { workflowId } = workflowExecution();
  const image = await deps.images.getImage(input.imageId);
  const bytes = roundUpTo(Math.max(image.virtualSizeBytes ?? 0, image.sizeBytes ?? 0), SECTOR_BYTES);
  return {
    backend: input.backend,
    key: input.cacheKey,
    bytes,
    flight,
    workflowId,
    policyVersion: deps.policyVersion,
    imageBytes: image.sizeBytes ?? undefined,
  };
}

export interface Registration {
  entryId: EntryId;
  virtualBytes: number;
  realBytes: number;
  costSeconds: number;
  input: PopulateInput;
}

/** `populating` -> `ready` by compare-and-set: from here on the entry can be acquired. Idempotent.
 *  @returns that it is not cached where it turned out larger than what the limits have room for. @throws ParentUnusable when the reservation was given up meanwhile (final). */
export function createRegisterEntry(deps: ControlDependencies) {
  return async function registerEntry({ input, ...measured }: Registration): Promise<NotCached | undefined> {
    const { backend, imageId, projectId } = input;
    const registered = await registerReady(deps.database, {
      ...measured,
      imageId,
      projectId,
      workflowId: workflowExecution().workflowId,
    });
    if (registered.kind === 'ready') return undefined;
    if (registered.kind === 'no-room') return { kind: 'bypass', reason: 'no-room' };
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
