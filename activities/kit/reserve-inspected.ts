import { observeSpace } from '../../db/backends';
import { findEntry, type ReservationOutcome, insertPopulatingEntry, reserveFreed } from '../../db/entries/entries';
import { takeForReservation } from '../../db/evictions/victims';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, EntryId, ImageId } from '../../workflows/contract/ids';
import type { NotCached, PopulateInput, Reservation, ReservedEntry } from '../../workflows/contract/population';
import type { ControlDependencies } from '../dependencies';
import { chooseForReservation } from '../eviction/choose-evictions';
import type { Progress } from '../progress';
import { backendHeld } from './backend-held';
import { deleteImageVolumeOf } from './delete-entry';
import { workflowExecution } from './runs';

/** How often other victims are chosen when the backend would not delete what was chosen. */
const CHOICES = 3;

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
  return inspectedReservationOf(await insertPopulatingEntry(deps.database, wanted), inspected);
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
export async function deleteVictims(
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
      const refusal = await deleteImageVolumeOf(deps, backend, { entry: victim, workflowId: wanted.workflowId });
      if (refusal === undefined) deleted.add(victim.id);
      else kept += 1;
    }
    if (kept === 0) break;
  }
  return [...deleted];
}

export function reservationOf(outcome: ReservationOutcome): Reservation | { kind: 'no-room' } {
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
