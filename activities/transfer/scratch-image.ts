import {
  forgetScratch,
  measureScratch,
  releaseScratch as releaseScratchRow,
  reserveScratch,
} from '../../db/queries/scratch-files';
import { Failure } from '../../workflows/contract/failures';
import type { ImageId } from '../../workflows/contract/ids';
import type { CacheKey, Image } from '../../workflows/contract/image';
import type { ScratchImage } from '../../workflows/contract/population';
import type { HostDependencies } from '../dependencies';
import { downloadImage } from '../image/download';
import { cacheKeyOf, contentHashOf } from '../records/cache-key';
import { createHeartbeatReporter, keepingAlive, waitingForTurn } from './heartbeat-reporter';

export interface ScratchSource {
  imageId: ImageId;
  cacheKey: CacheKey;
}

export interface ScratchRequest {
  source: ScratchSource;
  /** Who uses the file: a workflow id. The last user's release removes it. */
  user: string;
}

/**
 * Brings an image's bytes to this host's scratch: from the byte that is on disk, verified by the record's hash. One transfer a content hash runs at a
 * time, whoever asks. Its bytes are reserved in the host's budget first. Idempotent. Undo: `releaseScratch`.
 * @throws ImageNotFound, ImageNotActive, ImageChanged, TransferCorrupt (final); ImageServiceUnavailable, ScratchFull (retried).
 */
export function createDownloadToScratch(deps: HostDependencies) {
  return async function downloadToScratch({ source, user }: ScratchRequest): Promise<ScratchImage> {
    const startedAtMs = Date.now();
    const contentHash = contentHashOf(source.cacheKey);
    const first = { stage: 'waiting', summary: `asking the image service for image ${source.imageId}` } as const;
    const ensured = await keepingAlive(createHeartbeatReporter(), first, async (reporter) => {
      const image = await getPinnedImage(deps, source);
      await reserve(deps, { image, contentHash, user });
      return await deps.downloads.run(
        () =>
          deps.scratch.ensure(contentHash, {
            sizeBytes: image.sizeBytes ?? 0,
            reporter,
            transfer: (path, joined) => downloadImage({ images: deps.images, image, path, reporter: joined }),
          }),
        {
          onWait: (ahead) => reporter.report(waitingForTurn(ahead, 'download')),
          signal: reporter.signal,
        },
      );
    });
    await measureScratch(deps.database, { hostId: deps.hostId, contentHash, bytesReal: ensured.bytes });
    const { bytes, bytesDownloaded } = ensured;
    return { hostId: deps.hostId, contentHash, bytes, bytesDownloaded, downloadMs: Date.now() - startedAtMs };
  };
}

/** @throws ImageChanged when the id stands for other bytes than those that were asked for (final). */
async function getPinnedImage(deps: HostDependencies, { imageId, cacheKey }: ScratchSource): Promise<Image> {
  const image = await deps.images.getImage(imageId);
  const found = cacheKeyOf(image);
  if (found.short === cacheKey.short) return image;
  throw new Failure('ImageChanged', { imageId, found: found.hashValue, allowed: cacheKey.hashValue });
}

interface Reservation {
  image: Image;
  contentHash: string;
  user: string;
}

async function reserve(
  { database, hostId, config }: HostDependencies,
  { image, contentHash, user }: Reservation,
): Promise<void> {
  const bytes = image.sizeBytes ?? 0;
  const reserved = await reserveScratch(database, {
    hostId,
    contentHash,
    user,
    bytes,
    maxBytes: config.scratch.maxBytes,
  });
  if (reserved.kind === 'full')
    throw new Failure('ScratchFull', { host: hostId, neededBytes: bytes, freeBytes: reserved.freeBytes });
}

/** Takes one user off the file; the last one's release removes it. Idempotent. */
export function createReleaseScratch(deps: HostDependencies) {
  return async function releaseScratch({ source, user }: ScratchRequest): Promise<void> {
    await releaseScratchOf(deps, { contentHash: contentHashOf(source.cacheKey), user });
  };
}

export async function releaseScratchOf(
  deps: HostDependencies,
  { contentHash, user }: { contentHash: string; user: string },
): Promise<void> {
  const { lastUser } = await releaseScratchRow(deps.database, { hostId: deps.hostId, contentHash, user });
  if (lastUser && (await forgetScratch(deps.database, { hostId: deps.hostId, contentHash })))
    await deps.scratch.remove(contentHash);
}
