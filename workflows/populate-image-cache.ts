/**
 * `PopulateImageCache`: the one running population (flight) of a backend and cache key, for all of its waiters.
 *
 *   claim the flight -> reserve -+-> ready already ------------------------------------------+
 *                                +-> bypass: cache off, too large, no room ------------------+-> answer every waiter
 *                                +-> reserved: download -> inspect, write, seal -> register -+   (or all of it in one step, while the bytes come)
 *                                      no room for what its bytes say: undo, bypass --------+
 *
 * A waiter's cancel never cancels the flight. The user's volumes are clones of the image-volume made here, never the
 * other way round.
 */
import { patched, setCurrentDetails, upsertSearchAttributes, workflowInfo } from '@temporalio/workflow';
import type { FlightClaim } from '../activities/populate/flight';
import type { HostId } from './contract/ids';
import { called } from './contract/markdown';
import { searchAttributes } from './contract/names';
import type { NotCached, PopulateInput, ReservedEntry, Verdict } from './contract/population';
import { control, heartbeating, inTask, onBackend, onHost } from './lib/activity-profiles';
import {
  describeMakingRoom,
  describePopulated,
  describePopulating,
  describePopulationUndone,
  describeVerdict,
  progressLink,
} from './lib/details';
import { failCancelled, findFailure, isCancelled, typed } from './lib/fail';
import { isNoRoom, withHost } from './lib/host-affinity';
import { UndoStack } from './lib/undo-stack';

/** A closed run's summary in the UI. */
export interface PopulateResult {
  flight: number;
  verdict: Verdict['kind'];
  summary: string;
  bytesDownloaded: number;
  waitersAnswered: number;
}

export async function PopulateImageCache(given: PopulateInput): Promise<PopulateResult> {
  // Any Temporal client may have started this run: its input is checked before it is used.
  const claimStep = { summary: 'claim the flight of this cache key' };
  const claim = await typed(() => inTask(claimStep, (a) => a.claimFlight(given)));
  const { input } = claim;
  const { backend, cacheKey } = input;
  if (claim.searchAttributes)
    upsertSearchAttributes([
      { key: searchAttributes.backend, value: backend },
      { key: searchAttributes.imageId, value: input.imageId },
      { key: searchAttributes.cacheKey, value: cacheKey.short },
    ]);

  const verdict = claim.answered ?? (await populate(claim));
  if (verdict.kind === 'failed' && claim.searchAttributes && patched('outcome-of-a-failed-flight'))
    upsertSearchAttributes([{ key: searchAttributes.outcome, value: 'failed' }]);
  const { waitersAnswered } = await heartbeating({
    summary: 'record the verdict and complete the activity of every waiter',
  }).answerWaiters({ backend, cacheKey, flight: claim.flight, leader: claim.leaderVolumeId, verdict });
  const summary = describeVerdict(verdict);
  setCurrentDetails(describePopulated(verdict, waitersAnswered));
  return {
    flight: claim.flight,
    verdict: verdict.kind,
    summary,
    bytesDownloaded: verdict.kind === 'ready' ? verdict.bytesDownloaded : 0,
    waitersAnswered,
  };
}

async function populate({ input, flight, conversionMs }: FlightClaim): Promise<Verdict> {
  const undo = new UndoStack();
  try {
    const reservation = await reserve(input, flight, undo);
    if (reservation.kind !== 'reserved') return reservation;
    return await bringBytes({ input, conversionMs, ...reservation }, undo);
  } catch (error) {
    const cancelled = isCancelled(error);
    const failure = cancelled ? undefined : findFailure(error);
    if (failure === undefined && !cancelled) throw error;
    setCurrentDetails(describePopulationUndone(failure));
    await undo.run();
    if (failure === undefined) return failCancelled(error);
    return { kind: 'failed', failure, imageId: input.imageId };
  }
}

/**
 * Counts the entry's bytes against the limits before the first one is written; makes room where that is needed and
 * possible.
 */
async function reserve(input: PopulateInput, flight: number, undo: UndoStack) {
  const reserveStep = { summary: 'reserve an entry and its bytes' };
  undo.before('the reservation', () =>
    control({ summary: 'undo: release the reservation' }).abandonEntry({
      backend: input.backend,
      cacheKey: input.cacheKey,
      flight,
    }),
  );
  const reservation = await inTask(reserveStep, (a) => a.reserveEntry({ input, flight }));
  if (reservation.kind !== 'no-room') return reservation;
  setCurrentDetails(describeMakingRoom(progressLink()));
  return await onBackend(input.backend, {
    summary: 'make room: retire and delete the least valuable entries',
  }).makeRoom({
    input,
    flight,
  });
}

/**
 * Formats whose file is what the guest sees: it is written into the image-volume as it comes, with no file in between.
 */
const flatFormats = ['raw', 'iso'];

function isFlat({ containerFormat, diskFormat }: PopulateInput['cacheKey']): boolean {
  return containerFormat !== 'compressed' && flatFormats.includes(diskFormat);
}

interface Transfer {
  input: PopulateInput;
  entry: ReservedEntry;
  conversionMs: number | undefined;
  hostId?: HostId;
}

async function bringBytes({ input, entry, conversionMs, hostId: first }: Transfer, undo: UndoStack): Promise<Verdict> {
  const { backend } = input;
  const user = workflowInfo().workflowId;
  undo.before('the image-volume', () =>
    onBackend(backend, { summary: 'undo: remove the image-volume' }).removeImageVolume({
      imageVolume: entry.imageVolume,
    }),
  );
  const written = await withHost(
    backend,
    { first, onLost: (host) => undo.leaveHost(host) },
    async ({ hostId, moves }) => {
      const step = { imageId: input.imageId, hostId, imageVolume: entry.imageVolume };
      const host = onHost(hostId, { image: imageLabel(input), target: entry.imageVolume, conversionMs });
      undo.beforeOnHost(hostId, 'the scratch file', () => host.cleanup.releaseScratch({ source: input, user }));
      setCurrentDetails(describePopulating(step, progressLink()));
      const { seed } = input;
      const seeded = seed && (await host.transfer.seedImageVolume({ input: { ...input, seed }, entry }));
      if (seeded !== undefined && seeded.kind !== 'unsuitable') return seeded;
      const flat = isFlat(input.cacheKey) ? await host.transfer.streamImageVolume({ input, entry }) : undefined;
      if (flat?.kind === 'streamed') return flat;
      const transfer = flat?.transfer ?? seeded?.transfer;
      const how = transfer === undefined ? {} : { transfer };
      const scratch = await host.transfer.downloadToScratch({ source: input, user, moves, into: entry });
      if (isNoRoom(scratch)) return scratch;
      const { bytesDownloaded, downloadMs, written: unpacked } = scratch;
      if (unpacked !== undefined) return { bytesDownloaded, downloadMs, ...how, ...unpacked };
      setCurrentDetails(describePopulating({ ...step, scratch }, progressLink()));
      const converted = await host.convert.writeImageVolume({ input, entry, user });
      return isNotCached(converted) ? converted : { bytesDownloaded, downloadMs, ...how, ...converted };
    },
  );
  if (isNotCached(written)) return await giveUpCaching(written, undo);
  const timingsMs = { download: written.downloadMs, convert: written.convertMs };
  const registerStep = { summary: 'register the entry as ready' };
  const registration = {
    entryId: entry.id,
    virtualBytes: written.virtualBytes,
    realBytes: written.realBytes,
    costSeconds: (timingsMs.download + timingsMs.convert) / 1000,
    input,
  };
  const notCached = await inTask(registerStep, (a) => a.registerEntry(registration));
  if (notCached) return await giveUpCaching(notCached, undo);
  const { bytesDownloaded, transfer } = written;
  return { kind: 'ready', entryId: entry.id, bytesDownloaded, timingsMs, ...(transfer !== undefined && { transfer }) };
}

/** With the name that who has started the run knew. */
function imageLabel({ imageId }: PopulateInput): string {
  const name = workflowInfo().memo?.['imageName'];
  return called(imageId, typeof name === 'string' ? name : undefined);
}

function isNotCached(written: object): written is NotCached {
  return 'kind' in written && written.kind === 'bypass';
}

/** The image turned out larger than what was reserved, and the limits have no room for that: nothing of it stays. */
async function giveUpCaching(verdict: NotCached, undo: UndoStack): Promise<Verdict> {
  setCurrentDetails(describeVerdict(verdict));
  await undo.run();
  return verdict;
}
