import { observeSpace } from '../../db/backends';
import { findEntry } from '../../db/entries/entries';
import { markForReservation } from '../../db/evictions/victims';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, EntryId, ImageId } from '../../workflows/contract/ids';
import type { NotCached, PopulateInput, Reservation, ReservedEntry } from '../../workflows/contract/population';
import type { ControlDependencies } from '../dependencies';
import { chooseForReservation } from '../eviction/choose-evictions';
import type { Progress } from '../progress';
import { backendHeld } from './backend-held';
import { deleteImageVolumeOf } from './delete-entry';
import { workflowExecution } from './runs';
import { type ReservationOutcome, insertPopulatingEntry, reserveFreed } from '../../db/entries/reservations';

/** How often other victims are chosen when the backend would not delete what was chosen. */
const CHOICES = 3;

export interface InspectedEntry {
  input: Pick<PopulateInput, 'backend' | 'cacheKey' | 'imageId'>;
  entry: ReservedEntry;
  /** The guest-visible size, as the image's own bytes say. */
  virtualBytes: number;
}

/**
 * Reserves anew by what an image's own bytes say, before the first one is written: its record may tell no size, or a
 * smaller one. Where there is no room, what is worth less is evicted, if `report` is given; that needs a worker that
 * holds the backend. Idempotent. Undo: `abandonEntry`.
 * @returns undefined when the bytes are reserved.
 * @throws ImageChanged when the reservation was given up meanwhile (final).
 */
export async function reserveInspected(
  deps: ControlDependencies,
  { input, entry, virtualBytes }: InspectedEntry,
  report?: (progress: Progress) => void,
): Promise<NotCached | undefined> {
  const { backend, cacheKey: key, imageId } = input;
  const row = await findEntry(deps.database, { entryId: entry.id });
  if (row?.state !== 'populating') throw reservationGivenUp(imageId, row?.state ?? 'absent');
  if (virtualBytes <= row.realBytes) return undefined;
  const { workflowId } = workflowExecution();
  const { policyVersion } = deps;
  const flight = row.flight ?? 0;
  const wanted = { backend, key, bytes: virtualBytes, flight, workflowId, policyVersion, entryId: entry.id };
  const inserted = await insertPopulatingEntry(deps.database, wanted);
  const outcome = inserted.kind === 'no-room' && report ? await reserveByEviction(deps, wanted, report) : inserted;
  if (outcome.kind === 'given-up') throw reservationGivenUp(imageId, outcome.state);
  // Another flight has made the key's next generation: this reservation is none any more.
  if (outcome.kind === 'ready') throw reservationGivenUp(imageId, 'ready');
  const reservation = reservationOf(outcome);
  if (reservation.kind === 'no-room') return { kind: 'bypass', reason: 'no-room' };
  return reservation.kind === 'bypass' ? reservation : undefined;
}

/**
 * Evicts what is worth less, and turns its bytes into the reservation in one transaction. Only where the backend is
 * held.
 */
export async function reserveByEviction(
  deps: ControlDependencies,
  wanted: Parameters<typeof insertPopulatingEntry>[1],
  report: (progress: Progress) => void,
): Promise<ReservationOutcome> {
  const freedEntryIds = await deleteVictims(deps, wanted, report);
  return await reserveFreed(deps.database, { ...wanted, freedEntryIds });
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
    const taken = await markForReservation(deps.database, { ...wanted, choose });
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
      throw new Error('only a caller that names an entry hears that it was given up');
  }
}

/** The failure of a transfer whose entry is not `populating` any more. */
export function reservationGivenUp(imageId: ImageId, state: string): Failure<'ImageChanged'> {
  const found = `an entry that is ${state}`;
  return new Failure('ImageChanged', { imageId, found, allowed: 'one that is populating' });
}
