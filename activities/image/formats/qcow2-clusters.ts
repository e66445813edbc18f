import { MiB } from '../../../workflows/contract/bytes';
import { createCompressedClusters, type CompressedPiece } from './qcow2-compressed';
import { readCompressedEntry, readL2Entry, type CompressedData } from './qcow2-entries';
import type { Qcow2Header } from './qcow2-header';

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

/** An L2 table that has come: the clusters that it names lie behind `position`, or have come too early. */
export interface NamingTable {
  bytes: Buffer;
  /** Its first entry's cluster of the guest's disk. */
  firstGuest: number;
  /** Of the file, where the table ends. */
  position: number;
}

/** Clusters of the guest's disk that L2 tables have named. */
export interface NamedClusters {
  /** Those that are still to come. */
  readonly count: number;
  /** Those that came before their table. */
  readonly early: FilePiece[];
  /** @returns why the file cannot be taken apart; the table then counts for nothing. */
  name(table: NamingTable): string | undefined;
  /** The file's bytes from `start` on are those at `position`. @returns where its cluster ends there, and the piece of it that is known to be the guest's. */
  cut(bytes: Buffer, at: { start: number; position: number }): { end: number; piece?: GuestPiece };
  /** As `CompressedClusters.take`. */
  takeCompressed(bytes: Buffer, position: number): CompressedPiece[] | undefined;
}

/** Bounds of what is kept: clusters that are known and have not come, or have come too early. */
const MOST_PENDING = 262_144;
const MOST_EARLY = 4096;
/** They are read again, as often as they are named. */
const MOST_EARLY_BYTES = 64 * MiB;

export interface NamedClustersOptions {
  header: Qcow2Header;
  /** Of the file. */
  sizeBytes: number;
  /** That the clusters may have in all. */
  mostGuestBytes: number;
  /** Whether the file has a table there, which is no data. */
  isTable: (hostCluster: number) => boolean;
}

/** Pure; memory is bounded whatever the tables say. */
export function createNamedClusters({
  header,
  sizeBytes,
  mostGuestBytes,
  isTable,
}: NamedClustersOptions): NamedClusters {
  const { clusterBits, clusterBytes, virtualBytes, version } = header;
  const guestClusters = Math.ceil(virtualBytes / clusterBytes);
  let guestBytes = 0;
  /** Host cluster -> guest cluster. */
  const pending = new Map<number, number>();
  const compressed = createCompressedClusters();
  const early: FilePiece[] = [];

  const namePlain = (offset: number, guest: number, position: number): string | undefined => {
    const host = offset / clusterBytes;
    if (!Number.isInteger(host) || offset >= sizeBytes || isTable(host)) return 'an L2 entry that names no data';
    const guestOffset = guest * clusterBytes;
    const lengthBytes = Math.min(clusterBytes, sizeBytes - offset, virtualBytes - guestOffset);
    if (offset >= position && !pending.has(host)) pending.set(host, guest);
    else early.push({ fileOffset: offset, lengthBytes, guestOffset, isCompressed: false });
    return undefined;
  };
  const nameCompressed = ({ offset, ...data }: CompressedData, guest: number, position: number): string | undefined => {
    if (offset >= sizeBytes) return 'an L2 entry that names no data';
    const guestOffset = guest * clusterBytes;
    const lengthBytes = Math.min(data.lengthBytes, sizeBytes - offset);
    if (offset >= position) compressed.expect({ offset, end: offset + lengthBytes, guestOffset });
    else early.push({ fileOffset: offset, lengthBytes, guestOffset, isCompressed: true });
    return undefined;
  };
  const nameEntry = ({ bytes, firstGuest, position }: NamingTable, at: number): string | undefined => {
    const entry = readL2Entry(bytes, at);
    const guest = firstGuest + at / 8;
    if (entry.compressed || entry.offset !== 0) guestBytes += clusterBytes;
    if (entry.compressed) return nameCompressed(readCompressedEntry(bytes, { at, clusterBits }), guest, position);
    if (entry.hasReservedBits || (entry.readsAsZeros && version < 3)) return 'an L2 entry that is none';
    return entry.readsAsZeros || entry.offset === 0 ? undefined : namePlain(entry.offset, guest, position);
  };
  const findExcess = (): string | undefined => {
    const isFar = early.length > Math.min(MOST_EARLY, MOST_EARLY_BYTES / clusterBytes);
    if (isFar || pending.size + compressed.count > MOST_PENDING) return 'data far from its tables';
    return guestBytes > mostGuestBytes ? 'clusters out of proportion to its size' : undefined;
  };

  return {
    get count() {
      return pending.size + compressed.count;
    },
    early,
    name(table) {
      const entries = Math.min(table.bytes.length / 8, guestClusters - table.firstGuest);
      for (let entry = 0; entry < entries; entry += 1) {
        const unsuitable = nameEntry(table, entry * 8) ?? findExcess();
        if (unsuitable !== undefined) return unsuitable;
      }
      return undefined;
    },
    cut(bytes, { start, position }) {
      const within = position % clusterBytes;
      const end = Math.min(start + clusterBytes - within, bytes.length);
      const host = Math.floor(position / clusterBytes);
      const guest = pending.get(host);
      if (guest === undefined) return { end };
      const next = position + end - start;
      if (next % clusterBytes === 0 || next === sizeBytes) pending.delete(host);
      const guestOffset = guest * clusterBytes + within;
      const piece: GuestPiece = { start, end: Math.min(end, start + virtualBytes - guestOffset), guestOffset };
      return { end, piece: piece.end > start ? piece : undefined };
    },
    takeCompressed: (bytes, position) => compressed.take(bytes, position),
  };
}
