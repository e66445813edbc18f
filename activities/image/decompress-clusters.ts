import { availableParallelism } from 'node:os';
import * as zlib from 'node:zlib';
import { MiB } from '../../workflows/contract/bytes';
import type { CompressedPiece } from './formats/qcow2-compressed';
import type { ClusterCompression } from './formats/qcow2-header';
import { startThread, type Thread } from './thread';
import { settleAll } from '../../lib/settle-all';

/** Compressions that this Node can undo: zstd came to node:zlib with 22.15 and 23.8. Clusters of another compression are left to `qemu-img`. */
export const clusterCompressions: readonly ClusterCompression[] =
  'zstdDecompressSync' in zlib ? ['zlib', 'zstd'] : ['zlib'];

/** Decompresses clusters of a qcow2, on the worker's few threads for that. */
export interface ClusterDecompression {
  /**
   * @param write gets neighbouring clusters of the guest's disk as one; its bytes are others once it has resolved. It runs more than once at a time.
   * @throws Error for data that are not one cluster each; what `write` throws.
   */
  run(pieces: CompressedPiece[], write: (bytes: Buffer, guestOffset: number) => Promise<void>): Promise<void>;
  /** The last one ends the threads. */
  close(): Promise<void>;
}

const MOST_THREADS = 4;
/** Decompressed bytes of one question to a thread: few enough to be bounded, many enough that asking costs little. */
const BATCH_BYTES = MiB;

/** Input of `threads/decompress.ts`: compressed clusters, and the room for as many. */
export interface ClusterBatch {
  pieces: Uint8Array[];
  output: SharedArrayBuffer;
  clusterBytes: number;
  compression: ClusterCompression;
}

type DecompressionThread = Thread<ClusterBatch, void>;

/** However many images come at once: decompression takes so many cores of a host and no more. */
let shared: { threads: DecompressionThread[]; users: number } | undefined;

function shareThreads(): DecompressionThread[] {
  const count = Math.min(availableParallelism(), MOST_THREADS);
  shared ??= { threads: Array.from({ length: count }, () => startThread('decompress')), users: 0 };
  shared.users += 1;
  return shared.threads;
}

async function leaveThreads(): Promise<void> {
  if (shared === undefined || --shared.users > 0) return;
  const { threads } = shared;
  shared = undefined;
  await Promise.all(threads.map((thread) => thread.close()));
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
        await thread.ask({ pieces: inputs, output, clusterBytes, compression });
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
