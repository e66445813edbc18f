import { heartbeat } from '@temporalio/activity';
import { abandonReservation, registerReady, insertPopulatingEntry } from '../../db/entries/reservations';
import { listEntries } from '../../db/entries/entries';
import { findFlight } from '../../db/flights';
import { roundUpTo, SECTOR_BYTES } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, EntryId } from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import type { NotCached, PopulateInput, Reservation } from '../../workflows/contract/population';
import type { ControlDependencies } from '../dependencies';
import { reservationOf, reserveByEviction } from '../kit/reserve-inspected';
import { workflowExecution } from '../kit/runs';

export interface ReserveRequest {
  input: PopulateInput;
  flight: number;
}

/**
 * Counts the entry's bytes against the backend's limits before the first one is written. Idempotent for one flight.
 * Undo: `abandonEntry`.
 */
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
 * Retires and deletes victims for this very reservation, by the evictor's policy, then turns their bytes into it in one
 * transaction: the limits never overshoot. All or nothing: where the victims would not be enough, nothing is evicted.
 * Where nothing but parents of live clones is left, these leave the limits as long as the backend's free space allows.
 * Idempotent for one flight. Undo: `abandonEntry`.
 */
export function createMakeRoom(deps: ControlDependencies) {
  return async function makeRoom(request: ReserveRequest): Promise<Reservation> {
    const wanted = await wantedOf(deps, request);
    const reserved = reservationOf(await reserveByEviction(deps, wanted, heartbeat));
    await abandonAfterAnswer(deps, request, reserved);
    return reserved.kind === 'no-room' ? { kind: 'bypass', reason: 'no-room' } : reserved;
  };
}

/**
 * A try that was given up and comes late may find its flight answered: nobody else would give the reservation up then.
 */
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

/**
 * The bytes are the image's guest-visible size as its record tells it, the most that its image-volume can take; see
 * `reserveInspected`.
 */
async function wantedOf(deps: ControlDependencies, { input, flight }: ReserveRequest) {
  const { workflowId } = workflowExecution();
  const image = await deps.images.getImage(input.imageId);
  const bytes = roundUpTo(Math.max(image.virtualSizeBytes ?? 0, image.sizeBytes ?? 0), SECTOR_BYTES);
  const imageBytes = image.sizeBytes ?? undefined;
  const { backend, cacheKey: key } = input;
  const signature = deps.signatures.signatureOf(image);
  const verdict = signature !== undefined && signature.id === key.signature ? signature.verdict : undefined;
  return { backend, key, bytes, flight, workflowId, policyVersion: deps.policyVersion, imageBytes, verdict };
}

export interface Registration {
  entryId: EntryId;
  virtualBytes: number;
  realBytes: number;
  costSeconds: number;
  input: PopulateInput;
}

/**
 * `populating` -> `ready` by compare-and-set: from here on the entry can be acquired. Idempotent.
 * @returns that it is not cached where it turned out larger than what the limits have room for.
 * @throws ParentUnusable when the reservation was given up meanwhile (final).
 */
export function createRegisterEntry(deps: ControlDependencies) {
  return async function registerEntry({ input, ...measured }: Registration): Promise<NotCached | undefined> {
    const { backend, imageId, projectId } = input;
    const { workflowId } = workflowExecution();
    const registered = await registerReady(deps.database, { ...measured, imageId, projectId, workflowId });
    if (registered.kind === 'ready') return undefined;
    if (registered.kind === 'no-room') return { kind: 'bypass', reason: 'no-room' };
    const found = `behind an entry that is ${registered.state}`;
    throw new Failure('ParentUnusable', { backend, parent: measured.entryId, found });
  };
}

export interface AbandonRequest {
  backend: BackendName;
  cacheKey: CacheKey;
  flight: number;
}

/**
 * Gives up what this flight has reserved and not registered; where nothing is reserved there is nothing to do.
 * Idempotent.
 */
export function createAbandonEntry(deps: ControlDependencies) {
  return async function abandonEntry({ backend, cacheKey, flight }: AbandonRequest): Promise<void> {
    const ofKey = { backend, shortKey: cacheKey.short, state: 'populating', limit: 1 } as const;
    const populating = await listEntries(deps.database, ofKey);
    const own = populating.find(({ reservedFor }) => reservedFor === workflowExecution().workflowId);
    if (own) await abandonReservation(deps.database, { entryId: own.id, flight });
  };
}
