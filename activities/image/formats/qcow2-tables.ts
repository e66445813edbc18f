import { roundUpTo } from '../../../workflows/contract/bytes';
import { readL1Entry, readL2Entry } from './qcow2-entries';
import { bytesPerL1Entry, type Qcow2Header } from './qcow2-header';
import { expansionLimit, findExpansionRefusal } from './expansion';
import type { Steps, Subject } from './steps';
import { sortAndFindOverlap, walkTable, walkTables } from './tables';
import { refuse, type Refusal } from './verdict';

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
  const offset = readL1Entry(bytes, at);
  return offset !== undefined && offset % clusterBytes === 0 && offset + clusterBytes <= fileEnd ? offset : undefined;
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
  const counted = { standard: 0, compressed: 0 };
  for (let at = 0; at + entryBytes <= l2.length; at += entryBytes) {
    const { compressed, offset } = readL2Entry(l2, at);
    if (compressed) counted.compressed++;
    else if (offset !== 0) counted.standard++;
  }
  return counted;
}
