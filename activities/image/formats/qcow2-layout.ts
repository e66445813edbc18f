import { MiB } from '../../../workflows/contract/bytes';
import { createCompressedClusters, type CompressedPiece } from './qcow2-compressed';
import { readCompressedEntry, readL1Entry, readL2Entry, type CompressedData } from './qcow2-entries';
import { bytesPerL1Entry, parseQcow2Header, QCOW2_READ_BYTES, type Qcow2Header } from './qcow2-header';

/** Bytes of the guest's disk among bytes of the file. */
export interface GuestPiece {
  /** From `start` to before `end` of the bytes that were given. */
  start: number;
  end: number;
  guestOffset: number;
}

/** Bytes of the guest's disk that lie somewhere in the file, or that compressed data there make. */
export interface FilePiece {
  fileOffset: number;
  lengthBytes: number;
  guestOffset: number;
  isCompressed: boolean;
}

/** What bytes of the file are, each in the file's order. */
export interface TakenBytes {
  /** As they are; neighbours in one piece. */
  pieces: GuestPiece[];
  /** To be decompressed to a cluster each. */
  compressed: CompressedPiece[];
}

/** Where in a qcow2 the guest's bytes are, told while the file comes: nearly every one has its tables before what they name. */
export interface Qcow2Layout {
  /** Once the header has come. */
  readonly virtualBytes: number | undefined;
  /** With it. */
  readonly clusterBytes: number | undefined;
  /** Why the file cannot be taken apart in this way. It says nothing against the image. */
  readonly unsuitable: string | undefined;
  /** Takes the file's next bytes. @returns those of them that are known to be the guest's. */
  take(bytes: Buffer): TakenBytes;
  /** When the whole file was taken. @returns the guest's bytes that came before their table; undefined when not every one is known. */
  finish(): FilePiece[] | undefined;
}

/** `QFI\xfb`. */
const MAGIC = 0x514649fb;
/** Smaller clusters than these make more entries than they save. */
const LEAST_CLUSTER_BITS = 12;
const MOST_CLUSTER_BITS = 21;
/** Bounds of what is kept: an L2 table each, and clusters that are known and have not come, or have come too early. */
const MOST_L1_ENTRIES = 65_536;
const MOST_PENDING = 262_144;
const MOST_EARLY = 4096;
/** They are read again, as often as they are named. */
const MOST_EARLY_BYTES = 64 * MiB;

/** An area of the file that is wanted as a whole. */
interface Gathering {
  bytes: Buffer;
  filled: number;
  read: (bytes: Buffer) => void;
}

/**
 * Follows a qcow2 without snapshots, encryption or features that change its tables; every other one is unsuitable as soon as that is seen. It believes
 * nothing: what would make `qemu-img` fail or think twice makes the file unsuitable. Pure; memory is bounded whatever the file says.
 * @param sizeBytes of the file. @param mostGuestBytes that its clusters may have; by default as many as they like.
 */
export function createQcow2Layout({
  sizeBytes,
  mostGuestBytes = Infinity,
}: {
  sizeBytes: number;
  mostGuestBytes?: number;
}): Qcow2Layout {
  let position = 0;
  let unsuitable: string | undefined;
  let header: Qcow2Header | undefined;
  let gathering: Gathering | undefined;
  let l1Bytes = 0;
  /** Host cluster of each L2 table -> its index in the L1 table. */
  let l1IndexOf: Map<number, number> | undefined;
  let parsedL2Tables = 0;
  let guestBytes = 0;
  /** Host cluster -> guest cluster, of those that are still to come. */
  const pending = new Map<number, number>();
  const compressed = createCompressedClusters();
  const early: FilePiece[] = [];

  const giveUp = (why: string): void => void (unsuitable ??= why);

  const readHeader = (bytes: Buffer): void => {
    if (bytes.length < QCOW2_READ_BYTES || bytes.readUInt32BE(0) !== MAGIC) return giveUp('no header');
    const parsed = parseQcow2Header(bytes);
    const why = findUnsuitable(parsed);
    if (why !== undefined) return giveUp(why);
    header = parsed;
    l1Bytes = Math.ceil(parsed.virtualBytes / bytesPerL1Entry(parsed)) * 8;
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

  const readL2 = (table: Buffer, { l1Index, header: known }: { l1Index: number; header: Qcow2Header }): void => {
    const { clusterBits, clusterBytes, virtualBytes, version } = known;
    const firstGuest = (l1Index * clusterBytes) / 8;
    const guestClusters = Math.ceil(virtualBytes / clusterBytes);
    for (let at = 0; at < table.length && firstGuest + at / 8 < guestClusters; at += 8) {
      const entry = readL2Entry(table, at);
      if (entry.compressed || entry.offset !== 0) guestBytes += clusterBytes;
      const guest = firstGuest + at / 8;
      if (entry.compressed) expectCompressed(readCompressedEntry(table, { at, clusterBits }), guest * clusterBytes);
      else if (entry.hasReservedBits || (entry.readsAsZeros && version < 3)) giveUp('an L2 entry that is none');
      else if (!entry.readsAsZeros && entry.offset !== 0) expectPlain(entry.offset, { guest, header: known });
      const isFar = early.length > Math.min(MOST_EARLY, MOST_EARLY_BYTES / clusterBytes);
      if (pending.size + compressed.count > MOST_PENDING || isFar) giveUp('data far from its tables');
      if (guestBytes > mostGuestBytes) giveUp('clusters out of proportion to its size');
      if (unsuitable !== undefined) return;
    }
    parsedL2Tables += 1;
  };

  const expectPlain = (offset: number, { guest, header: known }: { guest: number; header: Qcow2Header }): void => {
    const { clusterBytes, virtualBytes } = known;
    const host = offset / clusterBytes;
    if (!Number.isInteger(host) || offset >= sizeBytes || isOfTables(host, known))
      return giveUp('an L2 entry that names no data');
    if (offset >= position && !pending.has(host)) return void pending.set(host, guest);
    const guestOffset = guest * clusterBytes;
    const lengthBytes = Math.min(clusterBytes, sizeBytes - offset, virtualBytes - guestOffset);
    early.push({ fileOffset: offset, lengthBytes, guestOffset, isCompressed: false });
  };

  const expectCompressed = ({ offset, lengthBytes }: CompressedData, guestOffset: number): void => {
    if (offset >= sizeBytes) return giveUp('an L2 entry that names no data');
    const inFile = Math.min(lengthBytes, sizeBytes - offset);
    if (offset < position) early.push({ fileOffset: offset, lengthBytes: inFile, guestOffset, isCompressed: true });
    else compressed.expect({ offset, end: offset + inFile, guestOffset });
  };

  const isOfTables = (host: number, { l1, clusterBytes }: Qcow2Header): boolean => {
    const first = l1.offset / clusterBytes;
    return l1IndexOf?.has(host) === true || (host >= first && host < first + l1Bytes / clusterBytes);
  };

  /** What the file has at `position`: an area to gather, or a cluster of the guest's. */
  const gatheringHere = (): Gathering | undefined => {
    const gather = (lengthBytes: number, read: Gathering['read']): Gathering => ({
      bytes: Buffer.alloc(lengthBytes),
      filled: 0,
      read,
    });
    const known = header;
    if (known === undefined) return gather(Math.min(QCOW2_READ_BYTES, sizeBytes), readHeader);
    if (position === known.l1.offset && l1IndexOf === undefined)
      return gather(l1Bytes, (bytes) => readL1(bytes, known));
    const l1Index = l1IndexOf?.get(position / known.clusterBytes);
    if (l1Index === undefined) return undefined;
    return gather(known.clusterBytes, (table) => readL2(table, { l1Index, header: known }));
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

  /** @returns the piece that begins at `start`, if it is known to be the guest's, and where the next one begins. */
  const cut = (bytes: Buffer, { start, known }: { start: number; known: Qcow2Header }) => {
    const { clusterBytes, virtualBytes } = known;
    const within = position % clusterBytes;
    const end = Math.min(start + clusterBytes - within, bytes.length);
    const host = Math.floor(position / clusterBytes);
    const guest = pending.get(host);
    position += end - start;
    if (guest === undefined) return { end };
    if (position % clusterBytes === 0 || position === sizeBytes) pending.delete(host);
    const guestOffset = guest * clusterBytes + within;
    const piece: GuestPiece = { start, end: Math.min(end, start + virtualBytes - guestOffset), guestOffset };
    return { end, piece: piece.end > start ? piece : undefined };
  };

  return {
    get virtualBytes() {
      return header?.virtualBytes;
    },
    get clusterBytes() {
      return header?.clusterBytes;
    },
    get unsuitable() {
      return unsuitable;
    },
    take(bytes) {
      const from = position;
      const pieces: GuestPiece[] = [];
      for (let start = 0; start < bytes.length;) {
        if (unsuitable !== undefined) break;
        const into = gathering ?? gatheringHere();
        if (into !== undefined) start += gather(bytes.subarray(start), into);
        else if (header !== undefined) {
          const { end, piece } = cut(bytes, { start, known: header });
          start = end;
          if (piece !== undefined) append(pieces, piece);
        }
      }
      const complete = compressed.take(bytes, from);
      if (complete === undefined) giveUp('compressed clusters that overlap');
      return unsuitable === undefined ? { pieces, compressed: complete ?? [] } : { pieces: [], compressed: [] };
    },
    finish() {
      const isWhole = unsuitable === undefined && position === sizeBytes && pending.size + compressed.count === 0;
      return isWhole && l1IndexOf?.size === parsedL2Tables ? early : undefined;
    },
  };
}

function findUnsuitable(header: Qcow2Header): string | undefined {
  const { version, clusterBits, clusterBytes, l1, l1Entries, virtualBytes } = header;
  if (version !== 2 && version !== 3) return `version ${version}`;
  if (header.incompatible !== 0n) return 'incompatible features';
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
