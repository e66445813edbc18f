import { createWriteStream } from 'node:fs';
import { rename } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { forgetScratch, releaseScratch as releaseScratchRow, reserveScratch } from '../../db/queries/scratch-files';
import { Failure } from '../../workflows/contract/failures';
import type { ImageId } from '../../workflows/contract/ids';
import type { CacheKey } from '../../workflows/contract/image';
import type { ScratchImage } from '../../workflows/contract/population';
import type { HostDependencies } from '../dependencies';
import { cacheKeyOf, contentHashOf } from '../records/cache-key';
import { createHeartbeatReporter, keepingAlive } from './heartbeat-reporter';

export interface ScratchSource {
  imageId: ImageId;
  cacheKey: CacheKey;
}

export interface ScratchRequest {
  source: ScratchSource;
  /** Who uses the file: a workflow id. The last user's release removes it. */
  user: string;
}

/** Brings an image's bytes to this host. */
export function createDownloadToScratch(deps: HostDependencies) {
  return async function downloadToScratch({ source, user }: ScratchRequest): Promise<ScratchImage> {
    const startedAtMs = Date.now();
    const image = await deps.images.getImage(source.imageId);
    if (cacheKeyOf(image).short !== source.cacheKey.short) {
      throw new Failure('ImageChanged', {
        imageId: source.imageId,
        found: 'another content hash',
        allowed: source.cacheKey.hashValue,
      });
    }
    const contentHash = contentHashOf(source.cacheKey);
    const reservation = await reserveScratch(deps.database, {
      hostId: deps.hostId,
      contentHash,
      user,
      bytes: image.sizeBytes ?? 0,
      maxBytes: deps.config.scratch.maxBytes,
    });
    if (reservation.kind === 'full')
      throw new Failure('ScratchFull', {
        host: deps.hostId,
        neededBytes: image.sizeBytes ?? 0,
        freeBytes: reservation.freeBytes,
      });
    const path = deps.scratch.pathOf(contentHash);
    const bytesDownloaded = await keepingAlive(createHeartbeatReporter(), async (reporter) => {
      reporter.report({ stage: 'downloading', summary: `downloading ${source.imageId}` });
      const download = await deps.images.openDownload({
        imageId: source.imageId,
        offsetBytes: 0,
        expectedBytes: image.sizeBytes ?? 0,
        signal: reporter.signal,
      });
      await pipeline(download.body, createWriteStream(`${path}.partial`));
      await rename(`${path}.partial`, path);
      return image.sizeBytes ?? 0;
    });
    return {
      hostId: deps.hostId,
      contentHash,
      bytes: image.sizeBytes ?? 0,
      bytesDownloaded,
      downloadMs: Date.now() - startedAtMs,
    };
  };
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
