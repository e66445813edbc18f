import type { FileHandle } from 'node:fs/promises';
import { MiB } from '../../workflows/contract/bytes';
import type { ByteSink } from '../glance/byte-sink';
import { startHashThread } from './hash-thread';
import type { SignatureCheck } from './image-signature';
import { appendSparse } from './sparse-write';
import { createWriteBack } from './write-back';

/** Small chunks are gathered into blocks: writing each as it comes is three to four times slower. A kill loses at most what is gathered. */
export const BLOCK_BYTES = 4 * MiB;
/** Blocks in turn between the network, the disk and the hash: the bound of a download's memory. */
const BLOCKS = 6;

/** A file that grows from its start to its end, sparse, while all its bytes are hashed in that order. */
export interface HashedFile {
  /** Bytes that are on disk and hashed, once `flush` has returned. */
  readonly bytes: number;
  /** Takes over what is on disk already: reads and hashes up to `bytes`. */
  takeOver(bytes: number, onProgress: (bytes: number) => void): Promise<void>;
  /** Waits only when disk or hash fall behind. @throws what an earlier write threw. */
  append(chunk: Buffer): Promise<void>;
  /** As `append`, for bytes that are put in place by somebody else. */
  readonly sink: ByteSink;
  /** Writes what is gathered and waits for all writes. */
  flush(): Promise<void>;
  /** @returns the hash in hex of everything, after a flush. */
  digest(): Promise<string>;
  /** @returns whether everything has the signature that was asked for, after `digest`; undefined where none was. */
  isSigned(): Promise<boolean | undefined>;
  /** Ends the hash thread; the handle stays open. */
  close(): Promise<void>;
}

/** Sees a file's bytes as they come, all of them and in their order. */
export interface ByteWatcher {
  /** `bytes` stay as they are until it resolves, which holds up those that come later. It never rejects. */
  see(bytes: Buffer): Promise<void>;
}

export interface HashedFileOptions {
  /** A name that node:crypto knows. */
  algorithm: string;
  /** Looked for in the same pass. */
  signature?: SignatureCheck;
  watcher?: ByteWatcher;
  /** Whether the disk is to write while more bytes come, so that a later fsync finds little to do. */
  writeBack: boolean;
}

interface Gathering {
  block: SharedArrayBuffer;
  view: Buffer;
  filled: number;
}

/** `handle` is open for reading and writing; the file's content counts only once it is taken over. */
export function createHashedFile(
  handle: FileHandle,
  { algorithm, signature, watcher, writeBack }: HashedFileOptions,
): HashedFile {
  const thread = startHashThread({ algorithm, signature });
  const pool = createPool();
  let current: Gathering | undefined;
  /** Bytes given to the disk, done or not. */
  let issued = 0;
  let bytes = 0;
  let writes: Promise<void> = Promise.resolve();
  let seen: Promise<unknown> = Promise.resolve();
  const disk = createWriteBack(handle);

  /** One write after the other, so that what is on disk never has a hole. */
  const write = async (previous: Promise<void>, view: Buffer<SharedArrayBuffer>, position: number): Promise<void> => {
    await previous;
    await appendSparse(handle, { view, position });
    bytes = position + view.length;
    if (writeBack) disk.advance(view.length);
  };
  /** Disk, hash and watcher read the block at the same time: it is shared, not transferred. */
  const consume = async (block: SharedArrayBuffer, lengthBytes: number): Promise<void> => {
    const watched = watcher?.see(Buffer.from(block, 0, lengthBytes));
    seen = Promise.all([seen, watched]);
    await Promise.all([thread.update(block, lengthBytes), watched]);
  };
  const issue = (block: SharedArrayBuffer, lengthBytes: number): void => {
    writes = write(writes, Buffer.from(block, 0, lengthBytes), issued);
    issued += lengthBytes;
    Promise.all([writes, consume(block, lengthBytes)]).then(() => pool.give(block), pool.fail);
  };

  const begin = (block: SharedArrayBuffer): Gathering => (current = { block, view: Buffer.from(block), filled: 0 });
  const fill = (count: number): void => {
    if (current === undefined) throw new Error('there is no block to fill');
    current.filled += count;
    if (current.filled < BLOCK_BYTES) return;
    const { block, filled } = current;
    current = undefined;
    issue(block, filled);
  };
  const sink: ByteSink = {
    room() {
      const free = current === undefined ? pool.tryTake() : undefined;
      if (free !== undefined) begin(free);
      return current?.view.subarray(current.filled);
    },
    filled: fill,
    async awaitRoom() {
      if (current !== undefined) return;
      const block = await pool.take();
      // A caller that waited for a connection now gone comes too late.
      if (current === undefined) begin(block);
      else pool.give(block);
    },
  };

  const flush = async (): Promise<void> => {
    if (current !== undefined && current.filled > 0) {
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
        consume(block, bytesRead).then(() => pool.give(block), pool.fail);
        bytes += bytesRead;
        issued = bytes;
        onProgress(bytes);
      }
    },
    async append(chunk) {
      for (let taken = 0; taken < chunk.length;) {
        const { view, filled } = current ?? begin(await pool.take());
        const copied = chunk.copy(view, filled, taken);
        taken += copied;
        fill(copied);
      }
    },
    sink,
    flush,
    async digest() {
      await flush();
      await disk.settle();
      return thread.digest();
    },
    isSigned: () => thread.isSigned(),
    async close() {
      await writes.catch(() => undefined);
      await disk.settle().catch(() => undefined);
      await seen;
      await thread.close();
      pool.close();
    },
  };
}

/** Blocks that wait for the next file: the collector does not see what a shared block weighs, and would let each file's pile up. */
const spareBlocks: SharedArrayBuffer[] = [];
const SPARE_BLOCKS = 2 * BLOCKS;

interface Pool {
  /** @returns a block that is free now. @throws as `take`. */
  tryTake(): SharedArrayBuffer | undefined;
  take(): Promise<SharedArrayBuffer>;
  give(this: void, block: SharedArrayBuffer): void;
  /** Every wait for a block, now or later, throws the error. */
  fail(this: void, error: unknown): void;
  /** Gives the blocks to the next file; call it when neither disk nor hash uses one. */
  close(): void;
}

function createPool(): Pool {
  const free: SharedArrayBuffer[] = [];
  const made: SharedArrayBuffer[] = [];
  let failure: { error: unknown } | undefined;
  let waiter: { resolve: (block: SharedArrayBuffer) => void; reject: (error: unknown) => void } | undefined;
  const tryTake = (): SharedArrayBuffer | undefined => {
    if (failure !== undefined) throw failure.error;
    const block = free.pop();
    if (block !== undefined || made.length === BLOCKS) return block;
    const another = spareBlocks.pop() ?? new SharedArrayBuffer(BLOCK_BYTES);
    made.push(another);
    return another;
  };
  return {
    tryTake,
    async take() {
      return tryTake() ?? (await new Promise((resolve, reject) => (waiter = { resolve, reject })));
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
    close() {
      spareBlocks.push(...made.splice(0, SPARE_BLOCKS - spareBlocks.length));
    },
  };
}
