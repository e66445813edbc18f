import { promisify } from 'node:util';
import { inflateRaw } from 'node:zlib';
import { MiB } from '../../workflows/contract/bytes';
import type { CompressedPiece } from './formats/qcow2-compressed';

/** Neighbouring clusters of the guest's disk. */
export interface DecompressedRun {
  bytes: Buffer;
  guestOffset: number;
}

/** The window that qcow2 grants, as a power of two. Source: QEMU's block/qcow2-threads.c. */
const WINDOW_BITS = 12;
/** Decompressed bytes that are made at the same time: work for every core, and the bound of the memory that it takes. */
const BATCH_BYTES = 4 * MiB;

const inflate = promisify(inflateRaw);

/**
 * Decompresses clusters of a qcow2 whose compression type is zlib, a bounded number of them at a time, beside the event loop.
 * @param write gets what one batch has made while the next one is made; it runs once at a time.
 * @throws what makes the data other than one cluster each; what `write` throws.
 */
export async function decompressClusters(
  pieces: CompressedPiece[],
  { clusterBytes, write }: { clusterBytes: number; write: (runs: DecompressedRun[]) => Promise<void> },
): Promise<void> {
  const batch = Math.max(Math.floor(BATCH_BYTES / clusterBytes), 1);
  let writing: Promise<void> = Promise.resolve();
  for (let at = 0; at < pieces.length; at += batch) {
    const clusters = pieces.slice(at, at + batch).map((piece) => decompress(piece, clusterBytes));
    const [made] = await Promise.all([Promise.all(clusters), writing]);
    writing = write(joinNeighbours(made));
  }
  await writing;
}

async function decompress({ bytes, guestOffset }: CompressedPiece, clusterBytes: number): Promise<DecompressedRun> {
  const made = await inflate(bytes, {
    windowBits: WINDOW_BITS,
    chunkSize: clusterBytes,
    maxOutputLength: clusterBytes,
  });
  if (made.length !== clusterBytes) throw new Error(`a cluster of ${made.length} of ${clusterBytes} bytes`);
  return { bytes: made, guestOffset };
}

function joinNeighbours(clusters: DecompressedRun[]): DecompressedRun[] {
  const runs: { parts: Buffer[]; guestOffset: number; end: number }[] = [];
  for (const { bytes, guestOffset } of clusters) {
    const last = runs.at(-1);
    if (last === undefined || last.end !== guestOffset)
      runs.push({ parts: [bytes], guestOffset, end: guestOffset + bytes.length });
    else {
      last.parts.push(bytes);
      last.end += bytes.length;
    }
  }
  return runs.map(({ parts, guestOffset }) => ({ bytes: Buffer.concat(parts), guestOffset }));
}
