import { stat } from 'node:fs/promises';
import { measureScratch } from '../../db/scratch-files';
import { formatBytes } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import type { CacheKey } from '../../workflows/contract/image';
import { pause } from '../../lib/abort';
import type { HostDependencies } from '../dependencies';
import { expandImage } from '../image/expand';
import { contentHashOf } from '../kit/cache-key';
import { waitingForTurn } from '../kit/heartbeat-reporter';
import { expandedHashOf, releaseExpanded } from '../kit/scratch-use';
import type { ProgressReporter } from '../progress';
import { checkCanHold, tryReserve, inWaitingRoom } from './reserve-in-turn';

/** Two that each hold a compressed file may wait for each other's room: neither waits longer than this. */
const MAX_WAIT_MS = 30 * 60_000;
const POLL_MS = 500;

export interface ExpandedRequest {
  imageId: string;
  cacheKey: CacheKey;
  /** The workflow id that uses the file. */
  user: string;
  /** The complete compressed file. */
  path: string;
}

/** `compressed` is Glance's word for bytes that are to be decompressed before they are a disk. */
export function isCompressed({ containerFormat }: Pick<CacheKey, 'containerFormat'>): boolean {
  return containerFormat === 'compressed';
}

/**
 * Makes the decompressed image exist in the host's scratch, counted in its budget as it grows; all users of the host
 * share it. It runs in a conversion's turn. Where others leave it no room, it gives back what it has and begins again
 * when there is as much as it lacked. Idempotent. Undo: `releaseExpanded`; a failure undoes it itself, so that a half
 * never keeps room from others.
 * @returns its path.
 * @throws as `expandImage`; ScratchFull (retried) after `MAX_WAIT_MS`; ScratchTooSmall (final) for an image that the
 * whole scratch cannot hold.
 */
export async function ensureExpanded(
  deps: HostDependencies,
  request: ExpandedRequest,
  reporter: ProgressReporter,
): Promise<string> {
  const deadlineMs = performance.now() + MAX_WAIT_MS;
  for (let setAside = 0; ;) {
    let lackingBytes = 0;
    const onLack = (bytes: number): void => void (lackingBytes = bytes);
    try {
      return await expandOnce(deps, { ...request, setAside, onLack }, reporter);
    } catch (error) {
      if (lackingBytes === 0) throw error;
      // The compressed file stays while it is expanded.
      await checkCanHold(deps, { neededBytes: lackingBytes, heldBytes: (await stat(request.path)).size });
      const wait = () => waitForRoom(deps, { ...request, lackingBytes, deadlineMs }, reporter);
      if (!(await inWaitingRoom(deps, { neededBytes: lackingBytes, signal: reporter.signal }, wait))) throw error;
      setAside = lackingBytes;
    }
  }
}

/** @returns whether the room is set aside; false at the deadline. */
async function waitForRoom(
  deps: HostDependencies,
  { cacheKey, user, lackingBytes, deadlineMs }: ExpandedRequest & { lackingBytes: number; deadlineMs: number },
  reporter: ProgressReporter,
): Promise<boolean> {
  const wanted = { contentHash: expandedHashOf(contentHashOf(cacheKey)), user, bytes: lackingBytes };
  while (performance.now() < deadlineMs) {
    const reserved = await tryReserve(deps, wanted);
    if (reserved.kind === 'reserved') return true;
    const free = formatBytes(reserved.freeBytes);
    const summary = `waiting for ${formatBytes(lackingBytes)} of scratch to decompress into, ${free} free`;
    reporter.report({ stage: 'waiting', summary });
    await pause(POLL_MS, reporter.signal);
  }
  return false;
}

interface Expansion extends ExpandedRequest {
  /** Bytes that are set aside already. */
  setAside: number;
  /** Hears how many bytes in all there was no room for. */
  onLack: (bytes: number) => void;
}

async function expandOnce(
  deps: HostDependencies,
  { imageId, cacheKey, user, path, setAside, onLack }: Expansion,
  reporter: ProgressReporter,
): Promise<string> {
  const { database, hostId, policy, toolGuard } = deps;
  const contentHash = expandedHashOf(contentHashOf(cacheKey));
  const reserve = (bytes: number) => reserveBytes(deps, { contentHash, user, bytes, onLack });
  const transfer = async (expandedPath: string, joined: ProgressReporter) => {
    const image = { imageId, path, expandedPath, policy, reporter: joined, guard: toolGuard, reserve };
    return { ...(await expandImage(image)), bytesDownloaded: 0, seconds: 0 };
  };
  try {
    await reserve(setAside);
    const ensured = await deps.conversions.run(
      () => deps.scratch.ensure(contentHash, { sizeBytes: 0, reporter, transfer }),
      { onWait: (ahead) => reporter.report(waitingForTurn(ahead, 'conversion')), signal: reporter.signal },
    );
    await measureScratch(database, { hostId, contentHash, bytesReal: ensured.bytes });
    return ensured.path;
  } catch (error) {
    await releaseExpanded(deps, { contentHash: contentHashOf(cacheKey), user });
    throw error;
  }
}

async function reserveBytes(
  deps: HostDependencies,
  { contentHash, user, bytes, onLack }: Pick<Expansion, 'user' | 'onLack'> & { contentHash: string; bytes: number },
): Promise<void> {
  const reserved = await tryReserve(deps, { contentHash, user, bytes });
  if (reserved.kind === 'reserved') return;
  onLack(bytes);
  throw new Failure('ScratchFull', { host: deps.hostId, neededBytes: bytes, freeBytes: reserved.freeBytes });
}
