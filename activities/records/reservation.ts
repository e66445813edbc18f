import {
  abandonReservation,
  beginEntryDeletion,
  confirmEntryGone,
  findEntry,
  listEntries,
  registerReady,
  reserveEntry as reserveEntryRow,
  reserveFreed,
  type ReservationOutcome,
} from '../../db/queries/cache-entries';
import { observeSpace } from '../../db/queries/backends';
import { findFlight } from '../../db/queries/populations';
import { takeForReservation } from '../../db/queries/victims';
import { roundUpTo, SECTOR_BYTES } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, EntryId, ImageId } from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import type {
  FreedEntry,
  NotCached,
  PopulateInput,
  ReservedEntry,
  Reservation,
} from '../../workflows/contract/population';
import { heartbeat } from '@temporalio/activity';
import type { ControlDependencies } from '../dependencies';
import type { Progress } from '../progress';
import { chooseForReservation } from '../eviction/choose-for-reservation';
import { countEvicted, deleteVictim } from '../eviction/delete-victim';
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
    return reserved.kind === 'reserved' && deps.backends.has(request.input.backend)
      ? { ...reserved, hostId: deps.ownHost }
      : reserved;
  };
}

/** How often other victims are chosen when the backend would not delete what was chosen. */
const CHOICES = 3;

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

export interface InspectedEntry {
  input: Pick<PopulateInput, 'backend' | 'cacheKey' | 'imageId'>;
  entry: ReservedEntry;
  /** The guest-visible size, as the image's own bytes say. */
  virtualBytes: number;
}

type InspectedReservation = { kind: 'reserved' } | { kind: 'no-room' } | NotCached;

/**
 * Reserves anew by what an image's own bytes say, before the first one is written: its record may tell no size, or a smaller one.
 * Idempotent. Undo: `abandonEntry`.
 * @returns `reserved`, or `no-room`: see `reserveInspectedOrMakeRoom`. @throws ImageChanged when the reservation was given up meanwhile (final).
 */
export async function reserveInspected(
  deps: ControlDependencies,
  inspected: InspectedEntry,
): Promise<InspectedReservation> {
  const wanted = await wantedAnew(deps, inspected);
  if (wanted === undefined) return { kind: 'reserved' };
  return inspectedReservationOf(await reserveEntryRow(deps.database, wanted), inspected);
}

/** As `reserveInspected`, and evicts what is worth less where there is no room. Only where the backend is held. */
export async function reserveInspectedOrMakeRoom(
  deps: ControlDependencies,
  inspected: InspectedEntry,
  report: (progress: Progress) => void,
): Promise<{ kind: 'reserved' } | NotCached> {
  const first = await reserveInspected(deps, inspected);
  if (first.kind !== 'no-room') return first;
  const wanted = await wantedAnew(deps, inspected);
  if (wanted === undefined) return { kind: 'reserved' };
  const freedEntryIds = await deleteVictims(deps, wanted, report);
  const freed = inspectedReservationOf(await reserveFreed(deps.database, { ...wanted, freedEntryIds }), inspected);
  return freed.kind === 'no-room' ? { kind: 'bypass', reason: 'no-room' } : freed;
}

/** @returns what is deleted on the backend for this reservation and not yet told to the inventory. */
async function deleteVictims(
  deps: ControlDependencies,
  wanted: { backend: BackendName; bytes: number; workflowId: string },
  report: (progress: Progress) => void,
): Promise<EntryId[]> {
  const backend = backendHeld(deps, wanted.backend);
  await observeSpace(deps.database, { name: backend.name, ...(await backend.space()) });
  const choose = chooseForReservation(wanted.bytes);
  const deleted = new Set<EntryId>();
  for (let choice = 1; choice <= CHOICES; choice += 1) {
    const taken = await takeForReservation(deps.database, { ...wanted, choose });
    const victims = taken.kind === 'victims' ? taken.deleting.filter(({ id }) => !deleted.has(id)) : [];
    let kept = 0;
    for (const victim of victims) {
      report({ stage: 'waiting', summary: `evicting image-volume ${victim.imageVolume}` });
      const isDeleted = await deleteVictim(deps, backend, { victim, workflowId: wanted.workflowId });
      if (isDeleted) deleted.add(victim.id);
      else kept += 1;
    }
    if (kept === 0) break;
  }
  return [...deleted];
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
    case 'given-up':
      throw new Error('only who names an entry hears that it was given up');
  }
}

/** @returns undefined where what is reserved is enough. */
async function wantedAnew(deps: ControlDependencies, inspected: InspectedEntry) {
  const { input, entry, virtualBytes } = inspected;
  const row = await findEntry(deps.database, { entryId: entry.id });
  if (row?.state !== 'populating') throw reservationGivenUp(input.imageId, row?.state ?? 'absent');
  if (virtualBytes <= row.realBytes) return undefined;
  return {
    backend: input.backend,
    key: input.cacheKey,
    bytes: virtualBytes,
    flight: row.flight ?? 0,
    workflowId: workflowExecution().workflowId,
    policyVersion: deps.policyVersion,
    entryId: entry.id,
  };
}

function inspectedReservationOf(outcome: ReservationOutcome, { input }: InspectedEntry): InspectedReservation {
  if (outcome.kind === 'given-up') throw reservationGivenUp(input.imageId, outcome.state);
  const reservation = reservationOf(outcome);
  // The key's next generation is there already, by somebody else: this reservation is none any more.
  if (reservation.kind === 'ready') throw reservationGivenUp(input.imageId, 'ready');
  if (reservation.kind === 'reserved') return { kind: 'reserved' };
  return reservation;
}

/** What a transfer fails with whose entry is not `populating` any more. */
export function reservationGivenUp(imageId: ImageId, state: string): Failure<'ImageChanged'> {
  return new Failure('ImageChanged', {
    imageId,
    found: `an entry that is ${state}`,
    allowed: 'one that is populating',
  });
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

/** Deletes a retired parent whose last clone is gone. Idempotent. */
export function createDeleteParent(deps: ControlDependencies, backend: BackendName) {
  return async function deleteParent({ entryId, imageVolume }: FreedEntry): Promise<void> {
    const begun = await beginEntryDeletion(deps.database, { entryId });
    // Acquired again or gone already: whoever holds it deletes it later.
    if (begun.kind !== 'deleting') return;
    await backendHeld(deps, backend).ensureImageVolumeAbsent(imageVolume);
    const isGone = await confirmEntryGone(deps.database, { entryId, workflowId: workflowExecution().workflowId });
    if (isGone) countEvicted(deps.metrics, begun.entry);
  };
}
