import type { FileHandle } from 'node:fs/promises';
import { MiB } from '../../workflows/contract/bytes';
import { startHashThread, type HashThread } from './hash-thread';

/** Small chunks are gathered into blocks: writing each as it comes is three to four times slower. */
const BLOCK_BYTES = 4 * MiB;
/** Blocks in turn between the network, the disk and the hash: the bound of a download's memory. */
const BLOCKS = 6;

/** A file that grows from its start to its end while all its bytes are hashed in that order. */
export interface HashedFile {
  /** Bytes that are on disk and hashed, once `flush` has returned. */
  readonly bytes: number;
  /** Takes over what is on disk already: reads and hashes up to `bytes`. */
  takeOver(bytes: number, onProgress: (bytes: number) => void): Promise<void>;
  /** Waits only when disk or hash fall behind. @throws what an earlier write threw. */
  append(chunk: Buffer): Promise<void>;
  /** Writes what is gathered and waits for all writes. */
  flush(): Promise<void>;
  /** @returns the hash in hex of everything, after a flush. */
  digest(): Promise<string>;
  /** Empties the file and begins anew. */
  reset(): Promise<void>;
  /** Ends the hash thread; the handle stays open. */
  close(): Promise<void>;
}

/** @param algorithm a name that node:crypto knows. */
export function createHashedFile(handle: FileHandle, algorithm: string): HashedFile {
  let thread: HashThread = startHashThread(algorithm);
  const pool = createPool();
  let current: { block: ArrayBuffer; view: Buffer; filled: number } | undefined;
  /** Bytes given to the disk, done or not. */
  let issued = 0;
  let bytes = 0;
  let writes: Promise<void> = Promise.resolve();

  /** One write after the other, so that what is on disk never has a hole; the hash of a block runs beside the next write. */
  const issue = (block: ArrayBuffer, lengthBytes: number): void => {
    const position = issued;
    issued += lengthBytes;
    writes = writes.then(async () => {
      await writeAll(handle, { view: Buffer.from(block, 0, lengthBytes), position });
      bytes = position + lengthBytes;
      thread.update(block, lengthBytes).then(pool.give, pool.fail);
    });
    writes.catch(pool.fail);
  };

  const flush = async (): Promise<void> => {
    if (current !== undefined) {
      const { block, filled } = current;
      current = undefined;
      issue(block, filled);
    }
    await writes;
  };

  return {
    get bytes() {
      return bytes;
    },
    async takeOver(upTo, onProgress) {
      while (bytes < upTo) {
        const block = await pool.take();
        const { bytesRead } = await handle.read(Buffer.from(block), 0, Math.min(BLOCK_BYTES, upTo - bytes), bytes);
        if (bytesRead === 0) throw new Error(`the file ends at byte ${bytes} while it is read again`);
        thread.update(block, bytesRead).then(pool.give, pool.fail);
        bytes += bytesRead;
        issued = bytes;
        onProgress(bytes);
      }
    },
    async append(chunk) {
      for (let taken = 0; taken < chunk.length; ) {
        if (current === undefined) {
          const block = await pool.take();
          current = { block, view: Buffer.from(block), filled: 0 };
        }
        const copied = chunk.copy(current.view, current.filled, taken);
        taken += copied;
        current.filled += copied;
        if (current.filled < BLOCK_BYTES) continue;
        issue(current.block, current.filled);
        current = undefined;
      }
    },
    flush,
    async digest() {
      await flush();
      return thread.digest();
    },
    async reset() {
      if (current !== undefined) pool.give(current.block);
      current = undefined;
      await writes;
      await thread.close();
      await handle.truncate(0);
      thread = startHashThread(algorithm);
      pool.renew();
      issued = 0;
      bytes = 0;
    },
    async close() {
      await writes.catch(() => undefined);
      await thread.close();
    },
  };
}

async function writeAll(handle: FileHandle, { view, position }: { view: Buffer; position: number }): Promise<void> {
  for (let written = 0; written < view.length; ) {
    const { bytesWritten } = await handle.write(view, written, view.length - written, position + written);
    written += bytesWritten;
  }
}

interface Pool {
  take(): Promise<ArrayBuffer>;
  give(this: void, block: ArrayBuffer): void;
  /** Whoever waits for a block, now or later, hears of it. */
  fail(this: void, error: unknown): void;
  renew(): void;
}

function createPool(): Pool {
  let free: ArrayBuffer[] = [];
  let made = 0;
  let failure: { error: unknown } | undefined;
  let waiter: { resolve: (block: ArrayBuffer) => void; reject: (error: unknown) => void } | undefined;
  return {
    async take() {
      if (failure !== undefined) throw failure.error;
      const block = free.pop();
      if (block !== undefined) return block;
      if (made < BLOCKS) {
        made += 1;
        return new ArrayBuffer(BLOCK_BYTES);
      }
      return new Promise((resolve, reject) => (waiter = { resolve, reject }));
    },
    give(block) {
      const waiting = waiter;
      waiter = undefined;
      if (waiting === undefined) free.push(block);
      else waiting.resolve(block);
    },
    fail(error) {
      failure ??= { error };
      waiter?.reject(error);
      waiter = undefined;
    },
    renew() {
      free = [];
      made = 0;
      failure = undefined;
    },
  };
}
