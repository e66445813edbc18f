import { roundUpTo } from '../../../workflows/contract/bytes';
import { bytesPerL1Entry, type Qcow2Header } from './qcow2-header';
import { expansionLimit, findExpansionRefusal } from './expansion';
import type { Steps, Subject } from './steps';
import { sortAndFindOverlap, walkTable, walkTables } from './tables';
import { refuse, type Refusal } from './verdict';

/** Bits 0 to 8 and 56 to 62 of an L1 entry are reserved; bits 9 to 55 are the offset. */
const L1_RESERVED_HIGH = 0x7f000000;
const L1_RESERVED_LOW = 0x1ff;
const OFFSET_HIGH = 0x00ffffff;
const OFFSET_LOW = 0xfffffe00;
const COMPRESSED_HIGH = 0x40000000;

/**
 * Walks the active L1 table and, where the guest's size would let a small file write out of all proportion, the L2 tables behind it.
 * The entries beyond the guest's size are not looked at: no conversion reads them.
 */
export function* findTableRefusal(header: Qcow2Header, subject: Subject): Steps<Refusal | undefined> {
  const l2Offsets = yield* readL1(header, subject);
  if ('kind' in l2Offsets) return l2Offsets;
  if (header.virtualBytes <= expansionLimit(subject)) return undefined;
  return yield* findClusterRefusal(l2Offsets, header, subject);
}

/** @returns the offsets of the L2 tables, ascending. */
function* readL1(header: Qcow2Header, subject: Subject): Steps<number[] | Refusal> {
  const { clusterBytes } = header;
  const entries = Math.ceil(header.virtualBytes / bytesPerL1Entry(header));
  const l2Offsets: number[] = [];
  const refusal = yield* walkTable({ offset: header.l1.offset, lengthBytes: entries * 8 }, 8, (bytes, offset) => {
    for (let at = 0; at < bytes.length; at += 8) {
      const l2Offset = parseL1Entry(bytes, at, { clusterBytes, fileEnd: roundUpTo(subject.sizeBytes, clusterBytes) });
      if (l2Offset === undefined) return badL1Entry(bytes.subarray(at, at + 8), { offset: offset + at, clusterBytes });
      if (l2Offset > 0) l2Offsets.push(l2Offset);
    }
    return undefined;
  });
  if (refusal) return refusal;
  const shared = sortAndFindOverlap(l2Offsets, clusterBytes);
  if (shared === undefined) return l2Offsets;
  return refuse('qcow2-l2-shared', {
    offset: shared,
    found: 'one L2 table under several L1 entries',
    allowed: 'an L2 table of its own each',
  });
}

/** @returns the offset of the L2 table, 0 for none, undefined for an entry that breaks its rule. */
function parseL1Entry(
  bytes: Buffer,
  at: number,
  { clusterBytes, fileEnd }: { clusterBytes: number; fileEnd: number },
): number | undefined {
  const high = bytes.readUInt32BE(at);
  const low = bytes.readUInt32BE(at + 4);
  if ((high & L1_RESERVED_HIGH) !== 0 || (low & L1_RESERVED_LOW) !== 0) return undefined;
  const offset = (high & OFFSET_HIGH) * 2 ** 32 + low;
  return offset % clusterBytes === 0 && offset + clusterBytes <= fileEnd ? offset : undefined;
}

function badL1Entry(entry: Buffer, { offset, clusterBytes }: { offset: number; clusterBytes: number }): Refusal {
  const allowed = `zero, or an L2 table at a multiple of ${clusterBytes} within the file`;
  return refuse('qcow2-l1-entry', { offset, found: `entry 0x${entry.toString('hex')}`, allowed });
}

/** Counts what the L2 tables would write. More standard clusters than the file has room for means that some are shared. */
function* findClusterRefusal(l2Offsets: number[], header: Qcow2Header, subject: Subject): Steps<Refusal | undefined> {
  const { clusterBytes, extendedL2 } = header;
  const fileClusters = Math.ceil(subject.sizeBytes / clusterBytes);
  let standard = 0;
  let compressed = 0;
  return yield* walkTables(l2Offsets, clusterBytes, (l2, offset) => {
    const counted = countClusters(l2, extendedL2 ? 16 : 8);
    standard += counted.standard;
    compressed += counted.compressed;
    if (standard > fileClusters) {
      return refuse('qcow2-clusters-shared', {
        offset,
        found: `${standard} clusters in a file of ${fileClusters}`,
        allowed: 'a cluster of its own each',
      });
    }
    return findExpansionRefusal((standard + compressed) * clusterBytes, { subject, offset });
  });
}

function countClusters(l2: Buffer, entryBytes: number): { standard: number; compressed: number } {
  let standard = 0;
  let compressed = 0;
  for (let at = 0; at + entryBytes <= l2.length; at += entryBytes) {
    const high = l2.readUInt32BE(at);
    if ((high & COMPRESSED_HIGH) !== 0) compressed++;
    else if ((high & OFFSET_HIGH) !== 0 || (l2.readUInt32BE(at + 4) & OFFSET_LOW) !== 0) standard++;
  }
  return { standard, compressed };
}
