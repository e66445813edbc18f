import { createNamedClusters, type FilePiece, type GuestPiece, type NamedClusters } from './qcow2-clusters';
import type { CompressedPiece } from './qcow2-compressed';
import { readL1Entry } from './qcow2-entries';
import {
  bytesPerL1Entry,
  clusterCompression,
  hasOtherFeatures,
  parseQcow2Header,
  QCOW2_READ_BYTES,
  type ClusterCompression,
  type Qcow2Header,
} from './qcow2-header';

/** Bytes of the file by their kind, each in the file's order. */
export interface TakenBytes {
  /** As they are; neighbours in one piece. */
  pieces: GuestPiece[];
  /** To be decompressed to a cluster each. */
  compressed: CompressedPiece[];
  /** How many bytes were taken: fewer than were given where many entries of tables have been looked at. */
  taken: number;
}

/** Where in a qcow2 the guest's bytes are, told while the file comes: nearly every one has its tables before what they name. */
export interface Qcow2Layout {
  /** Once the header has come. */
  readonly virtualBytes: number | undefined;
  /** With it. */
  readonly clusterBytes: number | undefined;
  /** With it. */
  readonly compression: ClusterCompression | undefined;
  /** Why the file cannot be taken apart in this way. It says nothing against the image. */
  readonly unsuitable: string | undefined;
  /** Takes the file's next bytes, or the first of them: the rest are to be given again. @returns those that are known to be the guest's. */
  take(bytes: Buffer): TakenBytes;
  /** When the whole file was taken. @returns the guest's bytes that came before their table; undefined when not every one is known. */
  finish(): FilePiece[] | undefined;
}

/** `QFI\xfb`. */
const MAGIC = 0x514649fb;
/** Smaller clusters than these make more entries than they save. */
const LEAST_CLUSTER_BITS = 12;
const MOST_CLUSTER_BITS = 21;
/** An L2 table each. */
const MOST_L1_ENTRIES = 65_536;

/** Entries of L2 tables that are looked at at once, some milliseconds of work, and what they take. */
const ENTRIES_AT_ONCE = 4096;
const PART_BYTES = ENTRIES_AT_ONCE * 8;

/** An area of the file that is wanted as a whole. */
interface Gathering {
  bytes: Buffer;
  filled: number;
  read: (bytes: Buffer) => void;
}

/**
 * Follows a qcow2 without snapshots, encryption or features that change its tables; every other one is unsuitable as soon as that is seen. It believes
 * nothing: anything that would make `qemu-img` fail or think twice makes the file unsuitable. Pure; memory is bounded whatever the file says.
 * @param sizeBytes of the file. @param mostGuestBytes that its clusters may have; by default as many as they like.
 * @param compressions of clusters, that can be undone; by default all.
 */
export function createQcow2Layout({
  sizeBytes,
  mostGuestBytes = Infinity,
  compressions = ['zlib', 'zstd'],
}: {
  sizeBytes: number;
  mostGuestBytes?: number;
  compressions?: readonly ClusterCompression[];
}): Qcow2Layout {
  let position = 0;
  let unsuitable: string | undefined;
  let known: { header: Qcow2Header; l1Bytes: number; clusters: NamedClusters } | undefined;
  let gathering: Gathering | undefined;
  /** Host cluster of each L2 table -> its index in the L1 table. */
  let l1IndexOf: Map<number, number> | undefined;
  let parsedL2Bytes = 0;

  const giveUp = (why: string): void => void (unsuitable ??= why);

  const readHeader = (bytes: Buffer): void => {
    if (bytes.length < QCOW2_READ_BYTES || bytes.readUInt32BE(0) !== MAGIC) return giveUp('no header');
    const header = parseQcow2Header(bytes);
    const why = findUnsuitable(header, compressions);
    if (why !== undefined) return giveUp(why);
    const l1Bytes = Math.ceil(header.virtualBytes / bytesPerL1Entry(header)) * 8;
    const firstOfL1 = header.l1.offset / header.clusterBytes;
    const isTable = (host: number): boolean =>
      l1IndexOf?.has(host) === true || (host >= firstOfL1 && host < firstOfL1 + l1Bytes / header.clusterBytes);
    known = { header, l1Bytes, clusters: createNamedClusters({ header, sizeBytes, mostGuestBytes, isTable }) };
  };

  const readL1 = (bytes: Buffer, { l1, clusterBytes }: Qcow2Header): void => {
    const found = new Map<number, number>();
    for (let at = 0; at < bytes.length; at += 8) {
      const offset = readL1Entry(bytes, at);
      if (offset === undefined || offset % clusterBytes !== 0) return giveUp('an L1 entry that is none');
      if (offset === 0) continue;
      if (offset < l1.offset + bytes.length) return giveUp('an L2 table before the L1 table');
      if (found.has(offset / clusterBytes)) return giveUp('an L2 table for two L1 entries');
      found.set(offset / clusterBytes, at / 8);
    }
    l1IndexOf = found;
  };

  const readL2 = (bytes: Buffer, { clusters, firstGuest }: { clusters: NamedClusters; firstGuest: number }): void => {
    const why = clusters.name({ bytes, firstGuest, position });
    if (why !== undefined) return giveUp(why);
    parsedL2Bytes += bytes.length;
  };

  /** The area to gather at `position`; undefined: a cluster of the guest's is there. */
  const gatheringHere = (): Gathering | undefined => {
    const gather = (lengthBytes: number, read: Gathering['read']): Gathering => ({
      bytes: Buffer.alloc(lengthBytes),
      filled: 0,
      read,
    });
    if (known === undefined) return gather(Math.min(QCOW2_READ_BYTES, sizeBytes), readHeader);
    const { header, l1Bytes, clusters } = known;
    if (position === header.l1.offset && l1IndexOf === undefined)
      return gather(l1Bytes, (bytes) => readL1(bytes, header));
    const l1Index = l1IndexOf?.get(Math.floor(position / header.clusterBytes));
    if (l1Index === undefined) return undefined;
    const within = position % header.clusterBytes;
    const firstGuest = (l1Index * header.clusterBytes + within) / 8;
    const partBytes = Math.min(header.clusterBytes - within, PART_BYTES);
    return gather(partBytes, (part) => readL2(part, { clusters, firstGuest }));
  };

  /** @returns how many of `bytes` were taken. */
  const gather = (bytes: Buffer, into: Gathering): number => {
    const taken = bytes.copy(into.bytes, into.filled);
    into.filled += taken;
    position += taken;
    gathering = into.filled < into.bytes.length ? into : undefined;
    if (gathering === undefined) into.read(into.bytes);
    return taken;
  };

  return {
    get virtualBytes() {
      return known?.header.virtualBytes;
    },
    get clusterBytes() {
      return known?.header.clusterBytes;
    },
    get compression() {
      return known && clusterCompression(known.header);
    },
    get unsuitable() {
      return unsuitable;
    },
    take(bytes) {
      const from = position;
      const pieces: GuestPiece[] = [];
      const parsedBefore = parsedL2Bytes;
      let start = 0;
      while (start < bytes.length) {
        if (unsuitable !== undefined || parsedL2Bytes - parsedBefore >= PART_BYTES) break;
        const into = gathering ?? gatheringHere();
        if (into !== undefined) start += gather(bytes.subarray(start), into);
        else if (known !== undefined) {
          const { end, piece } = known.clusters.cut(bytes, { start, position });
          position += end - start;
          start = end;
          if (piece !== undefined) append(pieces, piece);
        }
      }
      const compressed = known === undefined ? [] : known.clusters.takeCompressed(bytes.subarray(0, start), from);
      if (compressed === undefined) giveUp('compressed clusters that overlap');
      if (unsuitable !== undefined) return { pieces: [], compressed: [], taken: bytes.length };
      return { pieces, compressed: compressed ?? [], taken: start };
    },
    finish() {
      if (unsuitable !== undefined || position !== sizeBytes || known?.clusters.count !== 0) return undefined;
      const hasTables = (l1IndexOf?.size ?? 0) * known.header.clusterBytes === parsedL2Bytes;
      return l1IndexOf !== undefined && hasTables ? known.clusters.early : undefined;
    },
  };
}

function findUnsuitable(header: Qcow2Header, compressions: readonly ClusterCompression[]): string | undefined {
  const { version, clusterBits, clusterBytes, l1, l1Entries, virtualBytes } = header;
  if (version !== 2 && version !== 3) return `version ${version}`;
  if (hasOtherFeatures(header)) return 'incompatible features';
  const compression = clusterCompression(header);
  if (compression === undefined || !compressions.includes(compression))
    return `compression type ${header.compressionType}`;
  if (header.backingFileOffset !== 0 || header.cryptMethod !== 0) return 'a backing file or encryption';
  if (header.snapshotCount !== 0) return 'internal snapshots';
  if (clusterBits < LEAST_CLUSTER_BITS || clusterBits > MOST_CLUSTER_BITS) return `clusters of 2^${clusterBits} bytes`;
  const neededEntries = Math.ceil(virtualBytes / bytesPerL1Entry(header));
  const isCovered = neededEntries >= 1 && neededEntries <= l1Entries && neededEntries <= MOST_L1_ENTRIES;
  if (!isCovered) return `${l1Entries} L1 entries for ${virtualBytes} bytes`;
  if (l1.offset < clusterBytes || l1.offset % clusterBytes !== 0) return `an L1 table at byte ${l1.offset}`;
  return undefined;
}

function append(pieces: GuestPiece[], piece: GuestPiece): void {
  const last = pieces.at(-1);
  const goesOn =
    last !== undefined && last.end === piece.start && last.guestOffset + last.end - last.start === piece.guestOffset;
  if (goesOn) last.end = piece.end;
  else pieces.push(piece);
}
