import type { NoRoomHere, ReservedEntry, ScratchImage } from '../../workflows/contract/population';
import type { HostDependencies } from '../dependencies';
import { backendHeld } from '../kit/backend-held';
import { contentHashOf } from '../kit/cache-key';
import { createHeartbeatReporter, keepingAlive } from '../kit/heartbeat-reporter';
import { releaseScratchOf } from '../kit/scratch-use';
import type { ProgressReporter } from '../progress';
import { findSealed } from './attempt';
import { mayMove } from './room-elsewhere';
import { ensureScratchFile, type ScratchRequest, type ScratchSource, type TransferRequest } from './scratch-image';
import { beginUnpacking, isUnpacked } from './unpack-image-volume';

export interface ScratchDownload extends ScratchRequest {
  /** How often the caller has gone on to another host already; absent: it stays here. */
  moves?: number;
  /** Its image-volume is written while the bytes come, where the image's format allows that: `written` is set then. */
  into?: ReservedEntry;
}

/**
 * Brings an image's bytes to this host's scratch: from the byte that is on disk, verified by the record's hash. One
 * transfer a content hash runs at a time, for all callers. Its bytes are reserved in the host's budget first; where
 * that is full, it waits for its turn, or after a while answers `no-room-here`, where another host may have room.
 * Idempotent. Undo: `releaseScratch`, and `removeImageVolume` with `into`.
 * @throws ImageNotFound, ImageNotActive, ImageChanged, ImageRefused, ImageUnsupported, TransferCorrupt, NoSpace,
 * ScratchTooSmall (final); ImageServiceUnavailable, ScratchFull, BackendUnavailable (retried).
 */
export function createDownloadToScratch(deps: HostDependencies) {
  return async function downloadToScratch(request: ScratchDownload): Promise<ScratchImage | NoRoomHere> {
    const { source, into } = request;
    const first = { stage: 'waiting', summary: `asking the image service for image ${source.imageId}` } as const;
    return await keepingAlive(createHeartbeatReporter(), first, (reporter) =>
      into !== undefined && isUnpacked(backendHeld(deps, source.backend), source)
        ? downloadInto(deps, { ...request, into }, reporter)
        : downloadOnly(deps, request, reporter),
    );
  };
}

async function downloadInto(
  deps: HostDependencies,
  request: ScratchDownload & { into: ReservedEntry },
  reporter: ProgressReporter,
): Promise<ScratchImage | NoRoomHere> {
  const { source, user, into: entry } = request;
  const release = () => releaseScratchOf(deps, { contentHash: contentHashOf(source.cacheKey), user });
  const sealed = await findSealed(backendHeld(deps, source.backend), entry);
  if (sealed !== undefined) {
    await release();
    const nothing = { bytes: 0, bytesDownloaded: 0, downloadMs: 0 };
    return { ...placeOf(deps, request), ...nothing, written: { ...sealed, convertMs: 0 } };
  }
  const startedAtMs = performance.now();
  const unpacking = await beginUnpacking(deps, { source, entry });
  try {
    const image = await download(deps, { ...request, watch: unpacking.watch }, reporter);
    if ('kind' in image) return image;
    const written = await unpacking.finish(deps.scratch.pathOf(image.contentHash), reporter);
    countStage(deps, { source, stage: written === undefined ? 'download' : 'stream', image, startedAtMs });
    if (written === undefined) return image;
    await release();
    return { ...image, written };
  } finally {
    await unpacking.end();
  }
}

async function downloadOnly(
  deps: HostDependencies,
  request: ScratchDownload,
  reporter: ProgressReporter,
): Promise<ScratchImage | NoRoomHere> {
  const startedAtMs = performance.now();
  const image = await download(deps, request, reporter);
  if (!('kind' in image)) countStage(deps, { source: request.source, stage: 'download', image, startedAtMs });
  return image;
}

async function download(
  deps: HostDependencies,
  { source, user, moves, watch }: ScratchDownload & Pick<TransferRequest, 'watch'>,
  reporter: ProgressReporter,
): Promise<ScratchImage | NoRoomHere> {
  const startedAtMs = performance.now();
  const movable = moves === undefined ? undefined : { backend: source.backend, moves };
  try {
    const { bytes, bytesDownloaded } = await ensureScratchFile(deps, { source, user, movable, watch }, reporter);
    const downloadMs = Math.round(performance.now() - startedAtMs);
    return { ...placeOf(deps, { source }), bytes, bytesDownloaded, downloadMs };
  } catch (error) {
    if (movable !== undefined && (await mayMove(deps, movable, error))) return { kind: 'no-room-here' };
    throw error;
  }
}

interface Transferred {
  source: ScratchSource;
  stage: 'download' | 'stream';
  image: ScratchImage;
  startedAtMs: number;
}

/** How long it took is counted by the caller that brought the bytes. */
function countStage(deps: HostDependencies, { source, stage, image, startedAtMs }: Transferred): void {
  if (image.bytesDownloaded === 0) return;
  deps.metrics.populationStage({ backend: source.backend, stage }, (performance.now() - startedAtMs) / 1000);
}

function placeOf({ hostId }: HostDependencies, { source }: Pick<ScratchDownload, 'source'>) {
  return { hostId, contentHash: contentHashOf(source.cacheKey) };
}
