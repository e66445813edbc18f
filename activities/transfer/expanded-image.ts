import { forgetScratch, measureScratch, releaseScratch, reserveScratch } from '../../db/queries/scratch-files';
import { Failure } from '../../workflows/contract/failures';
import type { CacheKey } from '../../workflows/contract/image';
import type { HostDependencies } from '../dependencies';
import { expandImage } from '../image/expand';
import type { ProgressReporter } from '../progress';
import { contentHashOf } from '../records/cache-key';
import { waitingForTurn } from './heartbeat-reporter';

export interface ExpandedRequest {
  imageId: string;
  cacheKey: CacheKey;
  /** Who uses the file: a workflow id. */
  user: string;
  /** The complete compressed file. */
  path: string;
}

/** Glance's word for bytes that are to be decompressed before they are a disk. */
export function isCompressed({ containerFormat }: Pick<CacheKey, 'containerFormat'>): boolean {
  return containerFormat === 'compressed';
}

/**
 * Makes the decompressed image exist in the host's scratch, counted in its budget as it grows; all users of the host share it. It takes a conversion's turn.
 * Idempotent. Undo: `releaseExpanded`; a failure undoes it itself, so that a half never keeps room from others.
 * @returns its path. @throws as `expandImage`; ScratchFull (retried).
 */
export async function ensureExpanded(
  deps: HostDependencies,
  { imageId, cacheKey, user, path }: ExpandedRequest,
  reporter: ProgressReporter,
): Promise<string> {
  const { database, hostId, policy, toolGuard } = deps;
  const contentHash = expandedHashOf(contentHashOf(cacheKey));
  const reserve = (bytes: number) => reserveBytes(deps, { contentHash, user, bytes });
  const transfer = async (expandedPath: string, joined: ProgressReporter) => {
    const image = { imageId, path, expandedPath, policy, reporter: joined, guard: toolGuard, reserve };
    return { ...(await expandImage(image)), bytesDownloaded: 0, seconds: 0 };
  };
  try {
    await reserve(0);
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

/** Takes one user off the decompressed file of `contentHash`; the last one's release removes it. The absent is done. */
export async function releaseExpanded(
  { database, hostId, scratch }: HostDependencies,
  { contentHash, user }: { contentHash: string; user: string },
): Promise<void> {
  const expanded = { hostId, contentHash: expandedHashOf(contentHash) };
  const { lastUser } = await releaseScratch(database, { ...expanded, user });
  if (lastUser && (await forgetScratch(database, expanded))) await scratch.remove(expanded.contentHash);
}

/** The decompressed bytes are a file of the scratch like any other, under a name of their own. */
function expandedHashOf(contentHash: string): string {
  return `${contentHash}-expanded`;
}

async function reserveBytes(
  { database, hostId, config }: HostDependencies,
  { contentHash, user, bytes }: { contentHash: string; user: string; bytes: number },
): Promise<void> {
  const { maxBytes } = config.scratch;
  const reserved = await reserveScratch(database, { hostId, contentHash, user, bytes, maxBytes });
  if (reserved.kind === 'full')
    throw new Failure('ScratchFull', { host: hostId, neededBytes: bytes, freeBytes: reserved.freeBytes });
}
