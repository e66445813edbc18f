import type { Hash } from 'node:crypto';
import type { Handle } from '../bindings';
import { calls } from './session';

const HASHED_PIECE_BYTES = 4 * 1024 ** 2;
/** Pieces that are read while an earlier one is hashed. */
const READS_AHEAD = 6;

export async function hashRange(
  image: Handle,
  hash: Hash,
  { offset, lengthBytes }: { offset: number; lengthBytes: number },
): Promise<void> {
  const end = offset + lengthBytes;
  const reads: Promise<Buffer>[] = [];
  const buffers = Array.from({ length: READS_AHEAD }, () => Buffer.allocUnsafe(HASHED_PIECE_BYTES));
  const read = async (at: number, buffer: Buffer): Promise<Buffer> => {
    const wanted = Math.min(HASHED_PIECE_BYTES, end - at);
    const count = await calls.read(image, at, wanted, buffer, 0);
    if (count < wanted) throw new Error(`the image ends at byte ${at + count}`);
    return buffer.subarray(0, wanted);
  };
  let next = offset;
  const readOn = (buffer: Buffer): void => {
    if (next >= end) return;
    const piece = read(next, buffer);
    // It is awaited in its turn.
    piece.catch(() => undefined);
    reads.push(piece);
    next += HASHED_PIECE_BYTES;
  };
  for (const buffer of buffers) readOn(buffer);
  try {
    for (let piece = await reads.shift(); piece !== undefined; piece = await reads.shift()) {
      hash.update(piece);
      readOn(Buffer.from(piece.buffer, piece.byteOffset, HASHED_PIECE_BYTES));
    }
  } finally {
    await Promise.allSettled(reads);
  }
}
