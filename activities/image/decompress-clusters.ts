import { availableParallelism } from 'node:os';
import { MiB } from '../../workflows/contract/bytes';
import type { CompressedPiece } from './formats/qcow2-compressed';
import { startThread } from './thread';

/** Decompresses clusters of a qcow2 whose compression type is zlib, on threads of its own. */
export interface ClusterDecompression {
  /**
   * @param write gets neighbouring clusters of the guest's disk as one; its bytes are others once it has resolved. It runs more than once at a time.
   * @throws what makes the data other than one cluster each; what `write` throws.
   */
  run(pieces: CompressedPiece[], write: (bytes: Buffer, guestOffset: number) => Promise<void>): Promise<void>;
  /** Ends the threads. */
  close(): Promise<void>;
}

/** The window that qcow2 grants, as a power of two. Source: QEMU's block/qcow2-threads.c. */
const WINDOW_BITS = 12;
const MOST_THREADS = 4;
/** Decompressed bytes of one question to a thread: few enough to be bounded, many enough that asking costs little. */
const BATCH_BYTES = MiB;

/** Each call of zlib's asynchronous functions costs as much as the decompression of a cluster: threads that take many at once do not. */
const threadSource = `
const { parentPort, workerData: { clusterBytes, windowBits } } = require('node:worker_threads');
const { inflateRawSync } = require('node:zlib');
const options = { windowBits, chunkSize: clusterBytes, maxOutputLength: clusterBytes };
const decompress = ({ pieces, output }) => {
  const room = new Uint8Array(output);
  for (const [index, piece] of pieces.entries()) {
    const made = inflateRawSync(piece, options);
    if (made.length !== clusterBytes) throw new Error('a cluster of ' + made.length + ' of ' + clusterBytes + ' bytes');
    room.set(made, index * clusterBytes);
  }
};
parentPort.on('message', (message) => {
  try {
    decompress(message);
    parentPort.postMessage({});
  } catch (error) {
    parentPort.postMessage({ failure: error.message });
  }
});
`;

export function startClusterDecompression(clusterBytes: number): ClusterDecompression {
  const batch = Math.max(Math.floor(BATCH_BYTES / clusterBytes), 1);
  const threads = Array.from({ length: Math.min(availableParallelism(), MOST_THREADS) }, () =>
    startThread<{ failure?: string }>(threadSource, {
      name: 'cluster decompression',
      data: { clusterBytes, windowBits: WINDOW_BITS },
    }),
  );
  // A thread has work of one lane while the other writes what it has made.
  const lanes = [...threads, ...threads].map((thread) => ({
    thread,
    output: new SharedArrayBuffer(batch * clusterBytes),
  }));
  return {
    async run(pieces, write) {
      let next = 0;
      const runLane = async ({ thread, output }: (typeof lanes)[number]): Promise<void> => {
        while (next < pieces.length) {
          const taken = pieces.slice(next, (next += batch));
          const { failure } = await thread.ask({ pieces: taken.map(({ bytes }) => sharable(bytes)), output });
          if (failure !== undefined) throw new Error(failure);
          for (const { from, end } of neighbours(taken, clusterBytes))
            await write(
              Buffer.from(output, from * clusterBytes, (end - from) * clusterBytes),
              taken[from]?.guestOffset ?? 0,
            );
        }
      };
      const outcomes = await Promise.allSettled(lanes.map(runLane));
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
    },
    close: async () => void (await Promise.all(threads.map((thread) => thread.close()))),
  };
}

/** A view of memory that is not shared would be sent with all that is around it. */
function sharable(bytes: Buffer): Uint8Array {
  return bytes.buffer instanceof SharedArrayBuffer ? bytes : Uint8Array.from(bytes);
}

/** @returns runs of pieces, from index `from` to before index `end`, whose clusters follow each other on the guest's disk. */
function neighbours(pieces: CompressedPiece[], clusterBytes: number): { from: number; end: number }[] {
  const runs: { from: number; end: number }[] = [];
  for (const [index, { guestOffset }] of pieces.entries()) {
    const last = runs.at(-1);
    if (last !== undefined && pieces[index - 1]?.guestOffset === guestOffset - clusterBytes) last.end = index + 1;
    else runs.push({ from: index, end: index + 1 });
  }
  return runs;
}
