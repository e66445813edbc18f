import { listScratch, reserveScratch, type ScratchReservation } from '../../db/scratch-files';
import { formatBytes } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import type { Image } from '../../workflows/contract/image';
import { pause } from '../../lib/abort';
import type { HostDependencies } from '../dependencies';
import type { ProgressReporter } from '../progress';
import { startPatience, type MovableTransfer } from './room-elsewhere';

export interface ScratchReservationRequest {
  image: Image;
  contentHash: string;
  user: string;
  /** Set for a transfer that may go on on another host. */
  movable?: MovableTransfer;
}

/** Time between two tries of a caller whose turn it is. */
const POLL_MS = 500;

/**
 * Sets the image's bytes aside in the host's budget. A full scratch is nobody's failure: callers queue in the order of
 * their coming, and try again until there is room. A caller whose content is there already never queues: it needs no
 * room, and may be the one that gives some back. Idempotent for one user. Undo: `releaseScratch`.
 * @throws ScratchTooSmall for an image that the whole scratch cannot hold (final); ScratchFull when too many wait
 * (retried); RoomElsewhere for one that is movable; the reporter's abort as its reason.
 */
export async function reserveInTurn(
  deps: HostDependencies,
  request: ScratchReservationRequest,
  reporter: ProgressReporter,
): Promise<void> {
  const patience = request.movable && startPatience(deps, request.movable);
  try {
    await waitForRoom(deps, request, { ...reporter, signal: anyOf(reporter.signal, patience?.signal) });
  } finally {
    patience?.end();
  }
}

async function waitForRoom(
  deps: HostDependencies,
  request: ScratchReservationRequest,
  reporter: ProgressReporter,
): Promise<void> {
  const { image, contentHash, user } = request;
  const neededBytes = image.sizeBytes ?? 0;
  const { signal } = reporter;
  const waiter = deps.scratchQueue.enter({ contentHash, neededBytes });
  try {
    const isKnown = !waiter.mayTry() && (await isThere(deps, contentHash));
    if (!isKnown && !waiter.mayTry()) await checkCanHold(deps, { neededBytes });
    const tryInTurn = async (): Promise<boolean> => {
      signal.throwIfAborted();
      const place = waiter.ahead() === 0 ? 'first in the queue' : `${waiter.ahead()} ahead in the queue`;
      let summary = `waiting for ${formatBytes(neededBytes)} of scratch; ${place}`;
      if (isKnown || waiter.mayTry()) {
        const reserved = await tryReserve(deps, { contentHash, user, bytes: neededBytes });
        if (reserved.kind === 'reserved') {
          waiter.wasGranted();
          return true;
        }
        waiter.wasRefused(reserved.freeBytes);
        await checkCanHold(deps, { neededBytes });
        summary = `waiting for ${formatBytes(neededBytes)} of scratch, ${formatBytes(reserved.freeBytes)} are free; ${place}`;
      }
      reporter.report({ stage: 'waiting', summary });
      return false;
    };
    if (await tryInTurn()) return;
    await inWaitingRoom(deps, { neededBytes, signal }, async () => {
      do await pause(POLL_MS, signal);
      while (!(await tryInTurn()));
    });
  } finally {
    waiter.leave();
  }
}

/**
 * @param heldBytes what the same work holds of the scratch meanwhile.
 * @throws ScratchTooSmall (final) when no end of other transfers makes enough room: waiting would only hold up who
 * comes later.
 */
export async function checkCanHold(
  { config, hostId, scratch }: HostDependencies,
  { neededBytes, heldBytes = 0 }: { neededBytes: number; heldBytes?: number },
): Promise<void> {
  const capacityBytes = Math.max(0, Math.min(config.scratch.maxBytes, await scratch.mostBytes()) - heldBytes);
  if (neededBytes > capacityBytes) throw new Failure('ScratchTooSmall', { host: hostId, neededBytes, capacityBytes });
}

/**
 * Sets bytes aside where they are free now. Two halves on a disk that holds one image would keep each other from ever
 * being whole: the disk bounds the budget. Idempotent for one user. Undo: `releaseScratch`.
 */
export async function tryReserve(
  { database, hostId, config, scratch }: HostDependencies,
  wanted: { contentHash: string; user: string; bytes: number },
): Promise<ScratchReservation> {
  const maxBytes = Math.min(config.scratch.maxBytes, await scratch.capacityBytes());
  return await reserveScratch(database, { hostId, maxBytes, ...wanted });
}

function anyOf(signal: AbortSignal, other: AbortSignal | undefined): AbortSignal {
  return other === undefined ? signal : AbortSignal.any([signal, other]);
}

async function isThere({ database, hostId }: HostDependencies, contentHash: string): Promise<boolean> {
  return (await listScratch(database, { hostId })).some((row) => row.contentHash === contentHash);
}

/**
 * Waits for room in the scratch as one of a limited number. A release needs a slot of the same queue, which the waiting
 * must leave free: a further caller comes again later.
 * @throws ScratchFull (retried), and whatever `wait` throws.
 */
export async function inWaitingRoom<Result>(
  { hostId, waitingRoom }: HostDependencies,
  { neededBytes, signal }: { neededBytes: number; signal: AbortSignal },
  wait: () => Promise<Result>,
): Promise<Result> {
  if (waitingRoom.isFull()) throw new Failure('ScratchFull', { host: hostId, neededBytes, freeBytes: 0 });
  return await waitingRoom.run(wait, { onWait: () => undefined, signal });
}
