import { availableParallelism } from 'node:os';
import * as zlib from 'node:zlib';
import { MiB } from '../../workflows/contract/bytes';
import type { CompressedPiece } from './formats/qcow2-compressed';
import type { ClusterCompression } from './formats/qcow2-header';
import { startThread, type Thread } from './thread';
import { settleAll } from '../../lib/settle-all';

/** What this Node can undo: zstd came to node:zlib with 22.15 and 23.8. Clusters of another compression are left to `qemu-img`. */
export const clusterCompressions: readonly ClusterCompression[] =
  'zstdDecompressSync' in zlib ? ['zlib', 'zstd'] : ['zlib'];

/** Decompresses clusters of a qcow2, on the worker's few threads for that. */
export interface ClusterDecompression {
  /**
   * @param write gets neighbouring clusters of the guest's disk as one; its bytes are others once it has resolved. It runs more than once at a time.
   * @throws what makes the data other than one cluster each; what `write` throws.
   */
  run(pieces: CompressedPiece[], write: (bytes: Buffer, guestOffset: number) => Promise<void>): Promise<void>;
  /** The last one ends the threads. */
  close(): Promise<void>;
}

/** The window that qcow2 grants to zlib, as a power of two. Source: QEMU's block/qcow2-threads.c. */
const ZLIB_WINDOW_BITS = 12;
/** A frame of zstd asks for its window itself: the largest cluster is enough, and bounds what a thread takes. */
const ZSTD_WINDOW_BITS = 21;
const MOST_THREADS = 4;
/** Decompressed bytes of one question to a thread: few enough to be bounded, many enough that asking costs little. */
const BATCH_BYTES = MiB;

/** Each call of zlib's asynchronous functions costs as much as the decompression of a cluster: threads that take many at once do not. */
const threadSource = `
const { parentPort, workerData: { zlibWindowBits, zstdWindowBits } } = require('node:worker_threads');
const { constants, inflateRawSync, zstdDecompressSync } = require('node:zlib');
const inflate = (piece, clusterBytes) =>
  inflateRawSync(piece, { windowBits: zlibWindowBits, chunkSize: clusterBytes, maxOutputLength: clusterBytes });
// The data ends before its last sector does. A byte of room more than the cluster keeps node:zlib from reading on behind the frame; bytes that
// continue no frame make one that was cut off an error in every Node.
const decompressFrame = (piece, clusterBytes) =>
  zstdDecompressSync(Buffer.concat([piece, Buffer.alloc(8, 0xff)]), {
    chunkSize: clusterBytes + 1,
    maxOutputLength: clusterBytes,
    params: { [constants.ZSTD_d_windowLogMax]: zstdWindowBits },
  });
const decompress = ({ pieces, output, clusterBytes, compression }) => {
  const toCluster = compression === 'zstd' ? decompressFrame : inflate;
  const room = new Uint8Array(output);
  for (const [index, piece] of pieces.entries()) {
    const made = toCluster(piece, clusterBytes);
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

type DecompressionThread = Thread<{ failure?: string }>;

/** However many images come at once: decompression takes so many cores of a host and no more. */
let shared: { threads: DecompressionThread[]; users: number } | undefined;

function shareThreads(): DecompressionThread[] {
  shared ??= { threads: startThreads(), users: 0 };
  shared.users += 1;
  return shared.threads;
}

async function leaveThreads(): Promise<void> {
  if (shared === undefined || --shared.users > 0) return;
  const { threads } = shared;
  shared = undefined;
  await Promise.all(threads.map((thread) => thread.close()));
}

function startThreads(): DecompressionThread[] {
  const options = {
    name: 'cluster decompression',
    data: { zlibWindowBits: ZLIB_WINDOW_BITS, zstdWindowBits: ZSTD_WINDOW_BITS },
  };
  return Array.from({ length: Math.min(availableParallelism(), MOST_THREADS) }, () =>
    startThread(threadSource, options),
  );
}

export function startClusterDecompression({
  clusterBytes,
  compression,
}: {
  clusterBytes: number;
  compression: ClusterCompression;
}): ClusterDecompression {
  const batch = Math.max(Math.floor(BATCH_BYTES / clusterBytes), 1);
  const threads = shareThreads();
  // A thread has work of one lane while the other writes what it has made.
  const lanes = [...threads, ...threads].map((thread) => ({
    thread,
    output: new SharedArrayBuffer(batch * clusterBytes),
  }));
  return {
    async run(pieces, write) {
      let next = 0;
      const runBatch = async ({ thread, output }: (typeof lanes)[number], taken: CompressedPiece[]): Promise<void> => {
        const inputs = taken.map(({ bytes }) => sharable(bytes));
        const { failure } = await thread.ask({ pieces: inputs, output, clusterBytes, compression });
        if (failure !== undefined) throw new Error(failure);
        for (const { from, end, guestOffset } of neighbours(taken, clusterBytes))
          await write(Buffer.from(output, from * clusterBytes, (end - from) * clusterBytes), guestOffset);
      };
      const runLane = async (lane: (typeof lanes)[number]): Promise<void> => {
        try {
          while (next < pieces.length) await runBatch(lane, pieces.slice(next, (next += batch)));
        } catch (error) {
          next = pieces.length;
          throw error;
        }
      };
      await settleAll(lanes.map(runLane));
    },
    close: leaveThreads,
  };
}

/** A view of memory that is not shared would be sent with all that is around it. */
function sharable(bytes: Buffer): Uint8Array {
  return bytes.buffer instanceof SharedArrayBuffer ? bytes : Uint8Array.from(bytes);
}

/** Pieces from index `from` to before index `end`, whose clusters follow each other on the guest's disk. */
interface Neighbours {
  from: number;
  end: number;
  guestOffset: number;
}

function neighbours(pieces: CompressedPiece[], clusterBytes: number): Neighbours[] {
  const runs: Neighbours[] = [];
  for (const [index, { guestOffset }] of pieces.entries()) {
    const last = runs.at(-1);
    if (last !== undefined && pieces[index - 1]?.guestOffset === guestOffset - clusterBytes) last.end = index + 1;
    else runs.push({ from: index, end: index + 1, guestOffset });
  }
  return runs;
}
