/*
 * Entries of qcow2's tables, as two halves: their 64 bits are more than a number holds. Source: QEMU's docs/interop/qcow2.txt.
 */

/** Bits 0 to 8 and 56 to 62 of an L1 entry are reserved; bits 9 to 55 are the offset. */
const L1_RESERVED_HIGH = 0x7f000000;
const L1_RESERVED_LOW = 0x1ff;
/** Of an L2 entry without subclusters: bits 1 to 8 and 56 to 61. */
const L2_RESERVED_HIGH = 0x3f000000;
const L2_RESERVED_LOW = 0x1fe;
const READS_AS_ZEROS_LOW = 0x1;
const COMPRESSED_HIGH = 0x40000000;
const COMPRESSED_VALUE_HIGH = 0x3fffffff;
const SECTOR_BYTES = 512;
const OFFSET_HIGH = 0x00ffffff;
const OFFSET_LOW = 0xfffffe00;

/** @returns the offset of an L2 table, 0 for none; undefined when reserved bits are set. */
export function readL1Entry(table: Buffer, at: number): number | undefined {
  const [high, low] = [table.readUInt32BE(at), table.readUInt32BE(at + 4)];
  return (high & L1_RESERVED_HIGH) !== 0 || (low & L1_RESERVED_LOW) !== 0 ? undefined : offsetOf(high, low);
}

export interface L2Entry {
  compressed: boolean;
  /** Of a cluster that is not compressed; 0: unallocated. */
  offset: number;
  readsAsZeros: boolean;
  /** Whether bits are set that mean nothing in an entry without subclusters. */
  hasReservedBits: boolean;
}

export function readL2Entry(table: Buffer, at: number): L2Entry {
  const [high, low] = [table.readUInt32BE(at), table.readUInt32BE(at + 4)];
  return {
    compressed: (high & COMPRESSED_HIGH) !== 0,
    offset: offsetOf(high, low),
    readsAsZeros: (low & READS_AS_ZEROS_LOW) !== 0,
    hasReservedBits: (high & L2_RESERVED_HIGH) !== 0 || (low & L2_RESERVED_LOW) !== 0,
  };
}

/** Data of a compressed cluster: from a byte of the file to before a multiple of 512 bytes, at most two clusters long; the data itself may end before. */
export interface CompressedData {
  offset: number;
  lengthBytes: number;
}

/** @param table an L2 table that has at byte `at` the entry of a compressed cluster. */
export function readCompressedEntry(
  table: Buffer,
  { at, clusterBits }: { at: number; clusterBits: number },
): CompressedData {
  const [high, low] = [table.readUInt32BE(at), table.readUInt32BE(at + 4)];
  // Of the 62 bits below the flags the upper ones count sectors; how many they are depends on the size of a cluster.
  const offsetBitsHigh = 62 - (clusterBits - 8) - 32;
  const offset = (high & (2 ** offsetBitsHigh - 1)) * 2 ** 32 + low;
  const sectors = ((high & COMPRESSED_VALUE_HIGH) >>> offsetBitsHigh) + 1;
  return { offset, lengthBytes: sectors * SECTOR_BYTES - (offset % SECTOR_BYTES) };
}

function offsetOf(high: number, low: number): number {
  // Unsigned again: `&` makes a signed number of it.
  return (high & OFFSET_HIGH) * 2 ** 32 + ((low & OFFSET_LOW) >>> 0);
}
