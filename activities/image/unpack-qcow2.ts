import type { FileHandle } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { MiB } from '../../workflows/contract/bytes';
import { clusterCompressions, startClusterDecompression, type ClusterDecompression } from './decompress-clusters';
import type { CompressedPiece } from './formats/qcow2-compressed';
import type { FilePiece } from './formats/qcow2-clusters';
import type { ClusterCompression } from './formats/qcow2-header';
import { createQcow2Layout, type TakenBytes } from './formats/qcow2-layout';
import type { GuestWriter } from './guest-writer';
import type { ByteWatcher } from './hashed-file';

/** Writes the guest's bytes of an image into a raw target while the image comes. */
export interface Unpacking extends ByteWatcher {
  /** Why the target will not hold the guest's bytes, as soon as that is known. */
  readonly unfinished: unknown;
  /**
   * When all bytes have been seen: brings what came before its table from the image's own file, and has everything on the disk.
   * @returns the guest-visible size, or why the target does not hold the guest's bytes, so that a conversion must write them.
   */
  finish(image: FileHandle): Promise<{ virtualBytes: number } | { unfinished: unknown }>;
  /** Waits until nothing is written any more and closes the target. Bytes seen after that are skipped. */
  end(): Promise<void>;
}

export interface UnpackRequest {
  /** Of the qcow2. */
  sizeBytes: number;
  /** Of the clusters that it may hold. */
  mostGuestBytes: number;
  /** Makes the target, which reads as zeros: opened for writing. An error that it throws leaves the image to a conversion. */
  openTarget: (virtualBytes: number) => Promise<GuestWriter>;
}

interface Target {
  writer: GuestWriter;
  virtualBytes: number;
  clusterBytes: number;
  compression: ClusterCompression;
}

const READ_BYTES = MiB;

/** A conversion by `qemu-img` that could not be begun before the last byte has come; see `createQcow2Layout` for what is left to that one. */
export function createQcow2Unpacking({ sizeBytes, mostGuestBytes, openTarget }: UnpackRequest): Unpacking {
  const layout = createQcow2Layout({ sizeBytes, mostGuestBytes, compressions: clusterCompressions });
  let target: Target | undefined;
  let decompression: ClusterDecompression | undefined;
  let unfinished: unknown;
  let work: Promise<void> = Promise.resolve();

  /** One after the other; the first failure is the end of it, and no failure of whoever brings the bytes. */
  const enqueue = (step: () => Promise<void>): Promise<void> => (work = after(work, step));
  const after = async (before: Promise<void>, step: () => Promise<void>): Promise<void> => {
    await before;
    unfinished ??= layout.unsuitable;
    if (unfinished !== undefined) return;
    try {
      await step();
    } catch (error) {
      unfinished ??= error;
    }
  };

  const open = async (): Promise<Target | undefined> => {
    const { virtualBytes, clusterBytes, compression } = layout;
    if (target !== undefined || virtualBytes === undefined || clusterBytes === undefined || compression === undefined)
      return target;
    const writer = await openTarget(virtualBytes);
    return (target = { writer, virtualBytes, clusterBytes, compression });
  };
  /** Tables that name many clusters are taken in parts, so that others have their turn between them. */
  const takeAll = async (bytes: Buffer): Promise<void> => {
    for (let at = 0; at < bytes.length;) {
      if (at > 0) await setImmediate();
      if (unfinished !== undefined) return;
      const rest = bytes.subarray(at);
      const taken = layout.take(rest);
      await write(rest, taken);
      at += taken.taken;
    }
  };
  const write = async (bytes: Buffer, { pieces, compressed }: TakenBytes): Promise<void> => {
    const into = await open();
    if (into === undefined) return;
    for (const { start, end, guestOffset } of pieces) await into.writer.write(bytes.subarray(start, end), guestOffset);
    await decompress(compressed, into);
  };
  const decompress = async (pieces: CompressedPiece[], into: Target): Promise<void> => {
    if (pieces.length === 0) return;
    decompression ??= startClusterDecompression(into);
    await decompression.run(pieces, async (bytes, guestOffset) => {
      if (unfinished !== undefined) throw new Error('no more of it is wanted');
      // The disk may end within its last cluster.
      await into.writer.write(bytes.subarray(0, into.virtualBytes - guestOffset), guestOffset);
    });
  };
  const bring = async (image: FileHandle, pieces: FilePiece[]): Promise<void> => {
    const into = await open();
    if (into === undefined) throw new Error('the image has no header');
    for (const piece of pieces) {
      const { isCompressed, guestOffset } = piece;
      if (isCompressed) await decompress([{ bytes: await read(image, piece), guestOffset }], into);
      else await copy(image, into.writer, piece);
    }
    await into.writer.flush();
  };

  return {
    get unfinished() {
      return unfinished ?? layout.unsuitable;
    },
    see(bytes) {
      // Nothing of it can be used any more.
      if (unfinished !== undefined) return work;
      return enqueue(() => takeAll(bytes));
    },
    async finish(image) {
      await enqueue(async () => {
        const pieces = layout.finish();
        if (pieces === undefined) throw new Error('the image names clusters that it does not have');
        await bring(image, pieces);
      });
      return unfinished === undefined ? { virtualBytes: layout.virtualBytes ?? 0 } : { unfinished };
    },
    async end() {
      unfinished ??= 'ended';
      await work;
      await target?.writer.close();
      target = undefined;
      const ended = decompression;
      decompression = undefined;
      await ended?.close();
    },
  };
}

async function copy(image: FileHandle, target: GuestWriter, piece: FilePiece): Promise<void> {
  for (let done = 0; done < piece.lengthBytes; done += READ_BYTES) {
    const lengthBytes = Math.min(READ_BYTES, piece.lengthBytes - done);
    const view = await read(image, { fileOffset: piece.fileOffset + done, lengthBytes });
    await target.write(view, piece.guestOffset + done);
  }
}

async function read(
  image: FileHandle,
  { fileOffset, lengthBytes }: Pick<FilePiece, 'fileOffset' | 'lengthBytes'>,
): Promise<Buffer> {
  const buffer = Buffer.alloc(lengthBytes);
  for (let done = 0; done < lengthBytes;) {
    const { bytesRead } = await image.read(buffer, done, lengthBytes - done, fileOffset + done);
    if (bytesRead === 0) throw new Error(`the image ends at byte ${fileOffset + done} while it is read again`);
    done += bytesRead;
  }
  return buffer;
}
