import { u64be, type Range } from './steps';

/** Fields of a qcow2 header (QEMU docs/interop/qcow2.txt), with version 2's defaults filled in. Offsets and sizes in bytes of the file. */
export interface Qcow2Header {
  version: number;
  backingFileOffset: number;
  clusterBits: number;
  clusterBytes: number;
  virtualBytes: number;
  cryptMethod: number;
  l1: Range;
  l1Entries: number;
  refcountTable: Range;
  snapshotCount: number;
  snapshotsOffset: number;
  incompatible: bigint;
  autoclear: bigint;
  refcountOrder: number;
  headerBytes: number;
  compressionType: number;
  extendedL2: boolean;
}

export const QCOW2_V2_HEADER_BYTES = 72;
export const QCOW2_V3_HEADER_BYTES = 104;
/** Up to and including `compression_type`. */
export const QCOW2_READ_BYTES = 112;

/** Bits of the incompatible features. */
const COMPRESSION_TYPE = 1n << 3n;
const EXTENDED_L2 = 1n << 4n;

export type ClusterCompression = 'zlib' | 'zstd';

/** @param bytes the file's first 72 bytes for version 2, its first `QCOW2_READ_BYTES` (or the whole shorter file, 104 at least) for version 3. */
export function parseQcow2Header(bytes: Buffer): Qcow2Header {
  const version = bytes.readUInt32BE(4);
  const isV3 = version >= 3;
  const clusterBits = bytes.readUInt32BE(20);
  // Shifts of foreign numbers wrap in JavaScript; an absurd one is refused by name before this size is used.
  const clusterBytes = clusterBits <= 21 ? 2 ** clusterBits : 0;
  const incompatible = isV3 ? bytes.readBigUInt64BE(72) : 0n;
  const headerBytes = isV3 ? bytes.readUInt32BE(100) : QCOW2_V2_HEADER_BYTES;
  const l1Entries = bytes.readUInt32BE(36);
  return {
    version,
    backingFileOffset: u64be(bytes, 8),
    clusterBits,
    clusterBytes,
    virtualBytes: u64be(bytes, 24),
    cryptMethod: bytes.readUInt32BE(32),
    l1: { offset: u64be(bytes, 40), lengthBytes: l1Entries * 8 },
    l1Entries,
    refcountTable: { offset: u64be(bytes, 48), lengthBytes: bytes.readUInt32BE(56) * clusterBytes },
    snapshotCount: bytes.readUInt32BE(60),
    snapshotsOffset: u64be(bytes, 64),
    incompatible,
    autoclear: isV3 ? bytes.readBigUInt64BE(88) : 0n,
    refcountOrder: isV3 ? bytes.readUInt32BE(96) : 4,
    headerBytes,
    compressionType: headerBytes > 104 && bytes.length > 104 ? bytes.readUInt8(104) : 0,
    extendedL2: (incompatible & EXTENDED_L2) !== 0n,
  };
}

/** @returns what clusters are compressed by; undefined where type and feature bit disagree. */
export function clusterCompression({ incompatible, compressionType }: Qcow2Header): ClusterCompression | undefined {
  const hasType = (incompatible & COMPRESSION_TYPE) !== 0n;
  if (compressionType === 0 && !hasType) return 'zlib';
  return compressionType === 1 && hasType ? 'zstd' : undefined;
}

/** @returns whether the tables are other than those of a file without features. */
export function hasOtherFeatures({ incompatible }: Qcow2Header): boolean {
  return (incompatible & ~COMPRESSION_TYPE) !== 0n;
}

/** @returns guest bytes that one L2 table maps. */
export function bytesPerL1Entry({ clusterBytes, extendedL2 }: Qcow2Header): number {
  return clusterBytes * (clusterBytes / (extendedL2 ? 16 : 8));
}
