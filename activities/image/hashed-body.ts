import { MiB } from '../../workflows/contract/bytes';
import { startHashThread } from './hash-thread';

const BLOCK_BYTES = 4 * MiB;
/** Blocks that are hashed while others are sent: sha512 is the wall of one core. */
const BLOCKS = 3;

/** A body that is hashed on a thread of its own while it passes. */
export interface HashedBody {
  /** @param onBytes hears of the bytes that were taken so far. */
  pass(body: AsyncIterable<Buffer>, onBytes: (bytes: number) => void): AsyncGenerator<Buffer>;
  /** @returns the hash in hex of all that has passed, once. */
  digest(): Promise<string>;
  close(): Promise<void>;
}

/** @param algorithm a name that node:crypto knows. */
export function createHashedBody(algorithm: string): HashedBody {
  const thread = startHashThread({ algorithm });
  const blocks = Array.from({ length: BLOCKS }, () => ({
    shared: new SharedArrayBuffer(BLOCK_BYTES),
    hashed: Promise.resolve(),
  }));
  let used = 0;

  const hash = async (bytes: Buffer): Promise<void> => {
    const block = blocks[used % BLOCKS];
    if (block === undefined) throw new Error('there is no block to hash');
    used += 1;
    await block.hashed;
    bytes.copy(Buffer.from(block.shared));
    block.hashed = thread.update(block.shared, bytes.length);
    // An error reaches the next use of the block, or the request for the hash.
    block.hashed.catch(() => undefined);
  };

  return {
    async *pass(body, onBytes) {
      let passed = 0;
      for await (const chunk of body) {
        for (let start = 0; start < chunk.length; start += BLOCK_BYTES)
          await hash(chunk.subarray(start, start + BLOCK_BYTES));
        yield chunk;
        passed += chunk.length;
        onBytes(passed);
      }
    },
    async digest() {
      await Promise.all(blocks.map(({ hashed }) => hashed));
      return await thread.digest();
    },
    close: () => thread.close(),
  };
}
