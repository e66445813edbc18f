import { setTimeout as delay } from 'node:timers/promises';
import { listScratch, reserveScratch } from '../../db/queries/scratch-files';
import { formatBytes } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import type { Image } from '../../workflows/contract/image';
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

/** How often who is first in the queue looks whether others have given enough back. */
const POLL_MS = 500;

/**
 * Sets the image's bytes aside in the host's budget. A full scratch is nobody's failure: callers queue in the order of their coming, and the first
 * one looks again until there is room. Who asks for content that is there already never queues: it needs no room, and may be who gives some back.
 * Idempotent for one user. Undo: `releaseScratch`.
 * @throws ScratchFull for an image that the whole scratch cannot hold (retried: an operator may enlarge it); RoomElsewhere for one that is movable;
 * the reporter's abort as its reason.
 */
export async function reserveInTurn(
  deps: HostDependencies,
  request: ScratchReservationRequest,
  reporter: ProgressReporter,
): Promise<void> {
  const neededBytes = request.image.sizeBytes ?? 0;
  const mayTry = deps.scratchQueue.count() === 0 || (await isThere(deps, request.contentHash));
  if (mayTry && (await tryReserve(deps, request)).kind === 'reserved') return;
  const { maxBytes } = deps.config.scratch;
  if (neededBytes > maxBytes) throw new Failure('ScratchFull', { host: deps.hostId, neededBytes, freeBytes: maxBytes });
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
  const neededBytes = request.image.sizeBytes ?? 0;
  const { signal } = reporter;
  await deps.scratchQueue.run(
    async () => {
      for (;;) {
        const reserved = await tryReserve(deps, request);
        if (reserved.kind === 'reserved') return;
        const summary = `waiting for ${formatBytes(neededBytes)} of scratch, ${formatBytes(reserved.freeBytes)} are free; first in the queue`;
        reporter.report({ stage: 'waiting', summary });
        await delay(POLL_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
      }
    },
    {
      onWait: (ahead) =>
        reporter.report({
          stage: 'waiting',
          summary: `waiting for ${formatBytes(neededBytes)} of scratch; ${ahead} ahead in the queue`,
        }),
      signal,
    },
  );
}

function anyOf(signal: AbortSignal, other: AbortSignal | undefined): AbortSignal {
  return other === undefined ? signal : AbortSignal.any([signal, other]);
}

/** Two halves on a disk that holds one image would keep each other from ever being whole: the disk bounds the budget. */
async function tryReserve(
  { database, hostId, config, scratch }: HostDependencies,
  { image, contentHash, user }: ScratchReservationRequest,
) {
  const maxBytes = Math.min(config.scratch.maxBytes, await scratch.capacityBytes());
  return await reserveScratch(database, { hostId, contentHash, user, bytes: image.sizeBytes ?? 0, maxBytes });
}

async function isThere({ database, hostId }: HostDependencies, contentHash: string): Promise<boolean> {
  return (await listScratch(database, { hostId })).some((row) => row.contentHash === contentHash);
}
