import { log } from '@temporalio/activity';
import { measureScratch } from '../../db/scratch-files';
import { Failure } from '../../workflows/contract/failures';
import type { BackendName, ImageId } from '../../workflows/contract/ids';
import type { CacheKey, Image } from '../../workflows/contract/image';
import type { HostDependencies } from '../dependencies';
import { downloadImage } from '../image/download';
import type { ByteWatcher } from '../image/hashed-file';
import type { TrustedSignature } from '../image/image-signature';
import type { EnsuredFile } from '../image/scratch';
import { checkSigned, fileHasSignature } from '../image/verify-signature';
import { cacheKeyOf, contentHashOf } from '../kit/cache-key';
import { waitingForTurn } from '../kit/heartbeat-reporter';
import { isRunning } from '../kit/runs';
import { releaseScratchOf } from '../kit/scratch-use';
import type { ProgressReporter } from '../progress';
import { ensureExpanded, isCompressed } from './expanded-image';
import { reserveInTurn } from './reserve-in-turn';
import type { MovableTransfer } from './room-elsewhere';

export interface ScratchSource {
  backend: BackendName;
  imageId: ImageId;
  cacheKey: CacheKey;
}

export interface ScratchRequest {
  source: ScratchSource;
  /** The workflow id that uses the file. The last user's release removes it. */
  user: string;
}

/** A request as one step makes it. */
export interface TransferRequest extends ScratchRequest {
  movable?: MovableTransfer;
  /**
   * Begins to watch the bytes of a transfer that this step begins, as `DownloadImageRequest.watch`; one that it shares
   * is watched by others.
   */
  watch?: (image: Image) => Promise<ByteWatcher>;
}

/**
 * Brings an image's bytes to the scratch; see `downloadToScratch`. Cheap where this process has verified the file
 * already.
 */
export async function ensureScratchFile(
  deps: HostDependencies,
  request: TransferRequest,
  reporter: ProgressReporter,
): Promise<EnsuredFile> {
  try {
    return await bringToScratch(deps, request, reporter);
  } finally {
    await releaseAfterEnd(deps, request);
  }
}

/**
 * A try that was given up and comes late may find its workflow ended: nobody else would release the file then. A
 * failure here must not hide how the try itself has ended: the reconciler releases what is left.
 */
async function releaseAfterEnd(deps: HostDependencies, { source, user }: ScratchRequest): Promise<void> {
  try {
    if (await isRunning(deps, { workflowId: user })) return;
    await releaseScratchOf(deps, { contentHash: contentHashOf(source.cacheKey), user });
  } catch (error) {
    log.warn('a scratch file may be kept for a run that has ended', { user, error: String(error) });
  }
}

async function bringToScratch(
  deps: HostDependencies,
  { source, user, movable, watch }: TransferRequest,
  reporter: ProgressReporter,
): Promise<EnsuredFile> {
  const contentHash = contentHashOf(source.cacheKey);
  const { image, signature } = await getPinnedImage(deps, source);
  // Known only where this very call brings the bytes: others may bring them for an image with another signature, or with none.
  let isSigned: boolean | undefined;
  await reserveInTurn(deps, { image, contentHash, user, movable }, reporter);
  // Compressed bytes tell nothing before they are decompressed.
  const headPolicy = isCompressed(source.cacheKey) ? undefined : deps.policy;
  const ensured = await deps.downloads.run(
    () =>
      deps.scratch.ensure(contentHash, {
        sizeBytes: image.sizeBytes ?? 0,
        reporter,
        transfer: async (path, joined) => {
          const done = await downloadImage({
            images: deps.images,
            image,
            path,
            reporter: joined,
            policy: headPolicy,
            signature: signature?.check,
            watch: watch && (() => watch(image)),
          });
          isSigned = done.isSigned;
          deps.metrics.downloaded(done.bytesDownloaded);
          return done;
        },
      }),
    { onWait: (ahead) => reporter.report(waitingForTurn(ahead, 'download')), signal: reporter.signal },
  );
  await measureScratch(deps.database, { hostId: deps.hostId, contentHash, bytesReal: ensured.bytes });
  if (signature !== undefined)
    checkSigned(image, isSigned ?? (await fileHasSignature(signature.check, ensured, reporter)));
  return ensured;
}

/**
 * @returns the path of the scratch file for a writer, decompressed where the image is compressed. A file that is not
 * there any more is brought again, such as after a restart of the worker.
 */
export async function getScratchPath(
  deps: HostDependencies,
  request: ScratchRequest,
  reporter: ProgressReporter,
): Promise<string> {
  const found = await deps.scratch.find(contentHashOf(request.source.cacheKey));
  const { path } = found ?? (await ensureScratchFile(deps, request, reporter));
  const { source, user } = request;
  return isCompressed(source.cacheKey) ? await ensureExpanded(deps, { ...source, user, path }, reporter) : path;
}

export interface PinnedImage {
  image: Image;
  /** Signature that the bytes must have besides the record's hash. */
  signature: TrustedSignature | undefined;
}

/**
 * @throws ImageChanged when the id has other bytes, or another signature, by now than those that were requested; ImageRefused when the signature is not
 * trusted any more (final).
 */
export async function getPinnedImage(
  deps: HostDependencies,
  { imageId, cacheKey }: ScratchSource,
): Promise<PinnedImage> {
  const image = await deps.images.getImage(imageId);
  const signature = deps.signatures.signatureOf(image);
  const found = cacheKeyOf(image, signature);
  if (found.short === cacheKey.short) return { image, signature };
  const describe = ({ hashValue, signature: signed }: CacheKey) =>
    signed === undefined ? hashValue : `${hashValue} with signature ${signed.slice(0, 16)}`;
  throw new Failure('ImageChanged', { imageId, found: describe(found), allowed: describe(cacheKey) });
}

/** Takes one user off the file; the last one's release removes it. Idempotent. */
export function createReleaseScratch(deps: HostDependencies) {
  return async function releaseScratch({ source, user }: ScratchRequest): Promise<void> {
    await releaseScratchOf(deps, { contentHash: contentHashOf(source.cacheKey), user });
  };
}
