import { MiB } from '../../workflows/contract/bytes';
import type { GuestReader } from './guest-reader';
import { startHashThread } from './hash-thread';

const PIECE_BYTES = 4 * MiB;
/** Pieces that are read while an earlier one is hashed: with the two that are hashed, the bound of the memory. */
const READS_AHEAD = 6;

/**
 * Hashes the first `sizeBytes` where they are, in bounded memory; reads and hash overlap.
 * @param algorithm a name that node:crypto knows.  @returns hex.  @throws what the reader throws; the signal's reason; Error when the bytes end early.
 */
export async function hashGuest(
  reader: GuestReader,
  {
    algorithm,
    sizeBytes,
    signal,
    onProgress,
  }: { algorithm: string; sizeBytes: number; signal: AbortSignal; onProgress: (bytesDone: number) => void },
): Promise<string> {
  const thread = startHashThread(algorithm);
  const blocks = [0, 1].map(() => ({ bytes: new SharedArrayBuffer(PIECE_BYTES), hashed: Promise.resolve() }));
  const ahead: Promise<Buffer>[] = [];
  const lengthAt = (offset: number): number => Math.min(PIECE_BYTES, sizeBytes - offset);
  const readOn = (offset: number): void => {
    const piece = reader.read(offset, lengthAt(offset));
    // It is awaited in its turn.
    piece.catch(() => undefined);
    ahead.push(piece);
  };
  try {
    for (let offset = 0; offset < Math.min(sizeBytes, READS_AHEAD * PIECE_BYTES); offset += PIECE_BYTES) readOn(offset);
    for (let offset = 0; offset < sizeBytes; offset += PIECE_BYTES) {
      signal.throwIfAborted();
      const piece = await ahead.shift();
      if (piece?.length !== lengthAt(offset)) throw new Error(`the bytes end before byte ${offset + lengthAt(offset)}`);
      const next = offset + READS_AHEAD * PIECE_BYTES;
      if (next < sizeBytes) readOn(next);
      const block = blocks[(offset / PIECE_BYTES) % blocks.length];
      if (block === undefined) throw new Error('there is no block');
      await block.hashed;
      piece.copy(new Uint8Array(block.bytes));
      block.hashed = thread.update(block.bytes, piece.length);
      block.hashed.catch(() => undefined);
      onProgress(offset + piece.length);
    }
    return await thread.digest();
  } finally {
    await Promise.allSettled(ahead);
    await thread.close();
  }
}
