import type { FileHandle } from 'node:fs/promises';
import { roundUpTo, SECTOR_BYTES } from '../../workflows/contract/bytes';
import type { GuestWriter } from './guest-writer';
import type { Unpacking } from './unpack-qcow2';

/** Of a raw image or an ISO, whose bytes are the guest's: put in their place as they come. See `createQcow2Unpacking`. */
export function createRawCopy({
  sizeBytes,
  openTarget,
}: {
  sizeBytes: number;
  openTarget: (virtualBytes: number) => Promise<GuestWriter>;
}): Unpacking {
  const virtualBytes = roundUpTo(sizeBytes, SECTOR_BYTES);
  let writer: GuestWriter | undefined;
  let position = 0;
  let unfinished: unknown;
  let work: Promise<void> = Promise.resolve();

  const take = async (before: Promise<void>, bytes: Buffer): Promise<void> => {
    await before;
    if (unfinished !== undefined) return;
    try {
      writer ??= await openTarget(virtualBytes);
      await writer.write(bytes, position);
      position += bytes.length;
    } catch (error) {
      unfinished = error;
    }
  };
  const flush = async (): Promise<void> => {
    if (unfinished !== undefined) return;
    try {
      if (position !== sizeBytes || writer === undefined)
        throw new Error(`${position} of ${sizeBytes} bytes have come`);
      await writer.flush();
    } catch (error) {
      unfinished = error;
    }
  };

  return {
    get unfinished() {
      return unfinished;
    },
    see: (bytes) => (work = take(work, bytes)),
    async finish(_image: FileHandle) {
      await work;
      await flush();
      return unfinished === undefined ? { virtualBytes } : { unfinished };
    },
    async end() {
      unfinished ??= 'ended';
      await work;
      await writer?.close();
      writer = undefined;
    },
  };
}
