import { MiB } from '../../../workflows/contract/bytes';

/** Compressed data of one cluster of the guest's disk: a piece of the file, from byte `offset` to before byte `end`. */
export interface CompressedCluster {
  offset: number;
  end: number;
  guestOffset: number;
}

/** The data itself, which may end before the last of these bytes. */
export interface CompressedPiece {
  /** Of what was given, or a copy where it came in parts. */
  bytes: Buffer;
  guestOffset: number;
}

/** Compressed clusters that are known and have not come. Unlike others they begin at any byte, and neighbours share a sector. */
export interface CompressedClusters {
  readonly count: number;
  /** Call it before the bytes from `offset` on are taken. */
  expect(cluster: CompressedCluster): void;
  /** Takes the file's bytes from `position` on, one part after the other. @returns what is complete; undefined when more overlap than are kept, or too many are in no order. */
  take(bytes: Buffer, position: number): CompressedPiece[] | undefined;
}

/** Of clusters that have come in part: an ordinary file has two of them at a time. */
const MOST_PARTIAL_BYTES = 16 * MiB;

/** They are sorted at once; a file that is written in order, as nearly every one is, needs no sorting. */
const MOST_UNSORTED = 32_768;

interface PartialPiece extends CompressedPiece {
  filled: number;
}

/** Pure; keeps what was expected, and at most `MOST_PARTIAL_BYTES` besides. */
export function createCompressedClusters(): CompressedClusters {
  let expected: CompressedCluster[] = [];
  let isSorted = true;
  let partial: PartialPiece[] = [];

  const fill = (piece: PartialPiece, bytes: Buffer): void => {
    piece.filled += bytes.copy(piece.bytes, piece.filled);
  };
  /** @returns those that begin before byte `end`, in their order; they are expected no more. */
  const begunBefore = (end: number): CompressedCluster[] => {
    if (!isSorted) expected.sort((one, other) => one.offset - other.offset);
    isSorted = true;
    const later = expected.findIndex(({ offset }) => offset >= end);
    const begun = later < 0 ? expected : expected.slice(0, later);
    expected = later < 0 ? [] : expected.slice(later);
    return begun;
  };

  return {
    get count() {
      return expected.length + partial.length;
    },
    expect(cluster) {
      isSorted &&= cluster.offset >= (expected.at(-1)?.offset ?? 0);
      expected.push(cluster);
    },
    take(bytes, position) {
      if (!isSorted && expected.length > MOST_UNSORTED) return undefined;
      for (const piece of partial) fill(piece, bytes);
      const pieces: CompressedPiece[] = partial.filter((piece) => piece.filled === piece.bytes.length);
      partial = partial.filter((piece) => piece.filled < piece.bytes.length);
      let partialBytes = partial.reduce((sum, piece) => sum + piece.bytes.length, 0);
      for (const { offset, end, guestOffset } of begunBefore(position + bytes.length)) {
        const begun = bytes.subarray(offset - position, end - position);
        if (begun.length === end - offset) {
          pieces.push({ bytes: begun, guestOffset });
          continue;
        }
        partialBytes += end - offset;
        if (partialBytes > MOST_PARTIAL_BYTES) return undefined;
        const piece = { bytes: Buffer.alloc(end - offset), guestOffset, filled: 0 };
        fill(piece, begun);
        partial.push(piece);
      }
      return pieces;
    },
  };
}
