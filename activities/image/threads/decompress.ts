import * as zlib from 'node:zlib';
import type { ClusterBatch } from '../decompress-clusters';
import { answerMessages } from '../thread';

/** The window that qcow2 grants to zlib, as a power of two. Source: QEMU's block/qcow2-threads.c. */
const ZLIB_WINDOW_BITS = 12;
/** A frame of zstd asks for its window itself: the largest cluster is enough, and bounds what a thread takes. */
const ZSTD_WINDOW_BITS = 21;

/** Of a newer Node than the one whose types are used here. */
const { zstdDecompressSync, constants } = zlib as unknown as {
  zstdDecompressSync: (bytes: Uint8Array, options: object) => Buffer;
  constants: { ZSTD_d_windowLogMax: number };
};

/** Each call of zlib's asynchronous functions costs as much as the decompression of a cluster: a thread that takes many at once does not. */
answerMessages(({ pieces, output, clusterBytes, compression }: ClusterBatch): void => {
  const toCluster = compression === 'zstd' ? decompressFrame : inflate;
  const room = new Uint8Array(output);
  for (const [index, piece] of pieces.entries()) {
    const made = toCluster(piece, clusterBytes);
    if (made.length !== clusterBytes) throw new Error(`a cluster of ${made.length} of ${clusterBytes} bytes`);
    room.set(made, index * clusterBytes);
  }
});

function inflate(piece: Uint8Array, clusterBytes: number): Buffer {
  const bounds = { chunkSize: clusterBytes, maxOutputLength: clusterBytes };
  return zlib.inflateRawSync(piece, { windowBits: ZLIB_WINDOW_BITS, ...bounds });
}

/**
 * The data ends before its last sector does. A byte of room more than the cluster keeps node:zlib from reading on behind the frame; bytes that continue
 * no frame make one that was cut off an error in every Node.
 */
function decompressFrame(piece: Uint8Array, clusterBytes: number): Buffer {
  return zstdDecompressSync(Buffer.concat([piece, Buffer.alloc(8, 0xff)]), {
    chunkSize: clusterBytes + 1,
    maxOutputLength: clusterBytes,
    params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_BITS },
  });
}
