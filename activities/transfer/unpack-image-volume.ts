import { open } from 'node:fs/promises';
import { isFailure } from '../../workflows/contract/failures';
import type { Image } from '../../workflows/contract/image';
import type { ReservedEntry, WrittenImageVolume } from '../../workflows/contract/population';
import type { VolumeBackend, WriteTarget } from '../backends/backend';
import type { HostDependencies } from '../dependencies';
import { createRawCopy } from '../image/copy-raw';
import { expansionLimit } from '../image/formats/expansion';
import { createFileWriter } from '../image/guest-writer';
import type { ByteWatcher } from '../image/hashed-file';
import { createQcow2Unpacking, type Unpacking } from '../image/unpack-qcow2';
import { backendHeld } from '../kit/backend-held';
import { isGuestBytes } from '../kit/cache-key';
import { reserveInspected } from '../kit/reserve-inspected';
import type { ProgressReporter } from '../progress';
import { attemptName, checkFreeSpace, removeEarlierAttempts, seal } from './attempt';
import { isCompressed } from './expanded-image';
import { checkToolAgrees, checkWritten, inspectImageFile, type GuestBytes } from './inspect-image';
import type { ScratchSource } from './scratch-image';

/** One attempt's image-volume, written while the image comes to the scratch. */
export interface ImageVolumeUnpacking {
  /** For a transfer that this attempt begins. */
  watch(this: void, image: Image): Promise<ByteWatcher>;
  /**
   * When the image is in the scratch, verified: inspects it and what was written, and seals that.
   * @returns undefined when a conversion must write the image-volume.
   * @throws ImageRefused, ImageUnsupported, NoSpace, ImageChanged (final); BackendUnavailable (retried).
   */
  finish(path: string, reporter: ProgressReporter): Promise<WrittenImageVolume | undefined>;
  /** Removes what was written and not sealed; nothing writes any more then. */
  end(): Promise<void>;
}

/** Raw images stream into a file without any scratch; where targets are no files they are copied from the bytes that come to the scratch. */
export function isUnpacked(backend: VolumeBackend, { cacheKey }: ScratchSource): boolean {
  if (isCompressed(cacheKey)) return false;
  return cacheKey.diskFormat === 'qcow2' || (backend.openWriter !== undefined && isGuestBytes(cacheKey));
}

/**
 * A qcow2 is written into its image-volume as it comes, with no `qemu-img convert` after the last byte;
 * `createQcow2Layout` says which ones. Every attempt writes to a name of its own and begins with the image's first
 * byte, since a transfer that goes on reads again what is on disk.
 */
export async function beginUnpacking(
  deps: HostDependencies,
  { source, entry }: { source: ScratchSource; entry: ReservedEntry },
): Promise<ImageVolumeUnpacking> {
  const backend = backendHeld(deps, source.backend);
  const written = { kind: 'image-volume', name: entry.imageVolume } as const;
  const attempt = attemptName();
  await removeEarlierAttempts(backend, entry);
  let unpacking: Unpacking | undefined;
  let target: WriteTarget | undefined;
  let isOver = false;

  const openTarget = async (sizeBytes: number, virtualBytes: number) => {
    // Where there is no room yet, a conversion makes some, or tells that the image is not cached.
    const notCached = await reserveInspected(deps, { input: source, entry, virtualBytes });
    if (notCached !== undefined) throw new Error('the cache has no room for it yet');
    await checkFreeSpace(backend, sizeBytes);
    target = await backend.ensureWriteTarget({ ...written, attempt, virtualBytes });
    if (target.path !== undefined) return createFileWriter(await open(target.path, 'r+'));
    if (backend.openWriter === undefined) throw new Error(`backend ${backend.name} has no writer`);
    return await backend.openWriter({ ...written, attempt });
  };
  const discard = async (): Promise<void> => {
    await unpacking?.end();
    unpacking = undefined;
    if (target !== undefined) await backend.ensureAttemptAbsent({ ...written, attempt });
    target = undefined;
  };

  return {
    watch: async ({ sizeBytes }) => {
      // Others share the transfer and go on with it; the attempt that began it has left.
      if (isOver) return { see: () => Promise.resolve() };
      await discard();
      const size = sizeBytes ?? 0;
      const into = (virtualBytes: number) => openTarget(size, virtualBytes);
      if (isGuestBytes(source.cacheKey)) return (unpacking = createRawCopy({ sizeBytes: size, openTarget: into }));
      return (unpacking = createQcow2Unpacking({
        sizeBytes: size,
        mostGuestBytes: expansionLimit({ sizeBytes: size, policy: deps.policy }),
        openTarget: into,
      }));
    },
    async finish(path, reporter) {
      if (unpacking === undefined || unpacking.unfinished !== undefined) return undefined;
      const startedAtMs = performance.now();
      const { imageId, cacheKey } = source;
      const image = { imageId, cacheKey, path };
      reporter.report({ stage: 'sealing', summary: `sealing image-volume ${entry.imageVolume}` });
      const [unpacked, virtualBytes] = await Promise.all([finishFrom(path, unpacking), inspectTwice(deps, image)]);
      if ('unfinished' in unpacked || unpacked.virtualBytes !== virtualBytes || target === undefined) return undefined;
      await unpacking.end();
      await checkWritten(deps, imageId, { backend, target, ...written });
      const sealed = await seal(deps, backend, { source, entry, target, virtualBytes });
      return { ...sealed, convertMs: Math.round(performance.now() - startedAtMs) };
    },
    async end() {
      isOver = true;
      await discard();
    },
  };
}

async function finishFrom(path: string, unpacking: Unpacking): Promise<Awaited<ReturnType<Unpacking['finish']>>> {
  await using image = await open(path, 'r');
  return await unpacking.finish(image);
}

/**
 * By our own parser, then by `qemu-img`, which must agree.
 * @returns undefined when that one cannot run now: a conversion will try it again.
 */
async function inspectTwice(deps: HostDependencies, image: GuestBytes): Promise<number | undefined> {
  const virtualBytes = await inspectImageFile(deps, image);
  try {
    await checkToolAgrees(deps, image, virtualBytes);
    return virtualBytes;
  } catch (error) {
    if (isFailure(error, 'ToolFailed')) return undefined;
    throw error;
  }
}
