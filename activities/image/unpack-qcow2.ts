import type { FileHandle } from 'node:fs/promises';
import { MiB } from '../../workflows/contract/bytes';
import { createQcow2Layout, type FilePiece, type GuestPiece } from './formats/qcow2-layout';
import type { ByteWatcher } from './hashed-file';
import { writeSparse } from './sparse-write';
import { createWriteBack } from './write-back';

/** Writes the guest's bytes of a qcow2 into a raw file while the qcow2 comes. */
export interface Qcow2Unpacking extends ByteWatcher {
  /** Why the target will not hold the guest's bytes, as soon as that is known. */
  readonly unfinished: unknown;
  /**
   * When all bytes have been seen: brings what came before its table from the image's own file, and has everything on the disk.
   * @returns the guest-visible size, or why the target does not hold the guest's bytes, so that a conversion must write them.
   */
  finish(image: FileHandle): Promise<{ virtualBytes: number } | { unfinished: unknown }>;
  /** Waits until nothing is written any more and closes the target. What is seen after that is passed over. */
  end(): Promise<void>;
}

export interface UnpackRequest {
  /** Of the qcow2. */
  sizeBytes: number;
  /** Makes the target, which reads as zeros: opened for writing. What it throws leaves the image to a conversion. */
  openTarget: (virtualBytes: number) => Promise<FileHandle>;
}

const READ_BYTES = MiB;

/** A conversion by `qemu-img` that could not be begun before the last byte has come; see `createQcow2Layout` for what is left to that one. */
export function createQcow2Unpacking({ sizeBytes, openTarget }: UnpackRequest): Qcow2Unpacking {
  const layout = createQcow2Layout({ sizeBytes });
  let target: { handle: FileHandle; disk: ReturnType<typeof createWriteBack> } | undefined;
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
      unfinished = error;
    }
  };

  const open = async (): Promise<typeof target> => {
    if (target !== undefined || layout.virtualBytes === undefined) return target;
    const handle = await openTarget(layout.virtualBytes);
    return (target = { handle, disk: createWriteBack(handle) });
  };
  const write = async (bytes: Buffer, pieces: GuestPiece[]): Promise<void> => {
    const into = await open();
    if (into === undefined) return;
    for (const { start, end, guestOffset } of pieces) {
      await writeSparse(into.handle, { view: bytes.subarray(start, end), position: guestOffset });
      into.disk.advance(end - start);
    }
  };
  const bring = async (image: FileHandle, pieces: FilePiece[]): Promise<void> => {
    const into = await open();
    if (into === undefined) throw new Error('the image has no header');
    for (const piece of pieces) await copy(image, into.handle, piece);
    await into.disk.settle();
    await into.handle.sync();
  };

  return {
    get unfinished() {
      return unfinished;
    },
    see(bytes) {
      // Nothing of it can be used any more.
      if (unfinished !== undefined) return work;
      const pieces = layout.take(bytes);
      return enqueue(() => write(bytes, pieces));
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
      await target?.disk.settle().catch(() => undefined);
      await target?.handle.close();
      target = undefined;
    },
  };
}

async function copy(
  image: FileHandle,
  target: FileHandle,
  { fileOffset, lengthBytes, guestOffset }: FilePiece,
): Promise<void> {
  const buffer = Buffer.alloc(Math.min(READ_BYTES, lengthBytes));
  for (let done = 0; done < lengthBytes;) {
    const wanted = Math.min(buffer.length, lengthBytes - done);
    const { bytesRead } = await image.read(buffer, 0, wanted, fileOffset + done);
    if (bytesRead === 0) throw new Error(`the image ends at byte ${fileOffset + done} while it is read again`);
    await writeSparse(target, { view: buffer.subarray(0, bytesRead), position: guestOffset + done });
    done += bytesRead;
  }
}
