import type { FileHandle } from 'node:fs/promises';
import { writeSparse } from './sparse-write';
import { createWriteBack } from './write-back';

/** Puts guest bytes in their place while they come, in any order. Parts that were not written read as zeros. */
export interface GuestWriter {
  /** Runs of zeros are left out. `bytes` may be used again when it resolves. @throws what an earlier write met, too. */
  write(bytes: Buffer, position: number): Promise<void>;
  /** Everything that was written is durable then. */
  flush(): Promise<void>;
  /** Waits until nothing writes any more. */
  close(): Promise<void>;
}

/** Of a file that reads as zeros; the disk writes while more bytes come. */
export function createFileWriter(handle: FileHandle): GuestWriter {
  const disk = createWriteBack(handle);
  return {
    async write(bytes, position) {
      await writeSparse(handle, { view: bytes, position });
      disk.advance(bytes.length);
    },
    async flush() {
      await disk.settle();
      await handle.sync();
    },
    async close() {
      await disk.settle().catch(() => undefined);
      await handle.close();
    },
  };
}
