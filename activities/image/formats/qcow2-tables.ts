import { SECTOR_BYTES } from '../../../workflows/contract/bytes';
import { readCompressedEntry, readL1Entry, readL2Entry, type L2Entry } from './qcow2-entries';
import { bytesPerL1Entry, type Qcow2Header } from './qcow2-header';
import { createLastSector } from './qcow2-last-sector';
import { expansionLimit, findExpansionRefusal } from './expansion';
import { isWithinCluster, type Steps, type Subject } from './steps';
import { createAreas, walkTable, walkTables } from './tables';
import { refuse, type ImageRefusal } from './verdict';

/**
 * Walks the refcount table, the active L1 table and the L2 tables behind it. No two of them share a byte, so that a walk costs no more than the file has.
 * L1 entries beyond the guest's size are not looked at: no conversion reads them.
 */
export function* findTableRefusal(header: Qcow2Header, subject: Subject): Steps<ImageRefusal | undefined> {
  const refcountRefusal = yield* findRefcountRefusal(header, subject);
  if (refcountRefusal) return refcountRefusal;
  const l2Offsets = yield* readL1(header, subject);
  return 'kind' in l2Offsets ? l2Offsets : yield* findClusterRefusal(l2Offsets, header, subject);
}

/** The content of refcount blocks is for `qemu-img check`; their absence tells a file that was cut. */
function* findRefcountRefusal(
  { refcountTable, clusterBytes }: Qcow2Header,
  subject: Subject,
): Steps<ImageRefusal | undefined> {
  const layout = { entryBytes: 8, fileBytes: subject.sizeBytes };
  return yield* walkTable(refcountTable, layout, (entries, offset) => {
    for (let at = 0; at < entries.length; at += 8) {
      const block = { offset: Number(entries.readBigUInt64BE(at)), lengthBytes: clusterBytes };
      if (block.offset !== 0 && !isWithinCluster(block, { subject, clusterBytes }))
        return truncated({ offset: offset + at, what: 'a refcount block', place: block.offset }, subject);
    }
    return undefined;
  });
}

/** @returns the offsets of the L2 tables, ascending. */
function* readL1(header: Qcow2Header, subject: Subject): Steps<Float64Array | ImageRefusal> {
  const { clusterBytes } = header;
  const shared = (offset: number) =>
    refuse('qcow2-l2-shared', {
      offset,
      found: 'one L2 table under several L1 entries',
      allowed: 'an L2 table of its own each',
    });
  const entries = Math.ceil(header.virtualBytes / bytesPerL1Entry(header));
  const table = { offset: header.l1.offset, lengthBytes: entries * 8 };
  const layout = { entryBytes: 8, fileBytes: subject.sizeBytes };
  const l2Tables = createAreas(clusterBytes, layout);
  const refusal = yield* walkTable(table, layout, (bytes, offset) => {
    for (let at = 0; at < bytes.length; at += 8) {
      const l2Offset = parseL1Entry(bytes, at, { clusterBytes, subject });
      if (l2Offset === undefined) return badL1Entry(bytes.subarray(at, at + 8), { offset: offset + at, clusterBytes });
      if (l2Offset > 0 && !l2Tables.add(l2Offset)) return shared(l2Offset);
    }
    return undefined;
  });
  if (refusal) return refusal;
  const sorted = yield* l2Tables.sort();
  return 'overlapping' in sorted ? shared(sorted.overlapping) : sorted.offsets;
}

/** @returns the offset of the L2 table, 0 for none, undefined for an entry that breaks its rule. */
function parseL1Entry(
  bytes: Buffer,
  at: number,
  { clusterBytes, subject }: { clusterBytes: number; subject: Subject },
): number | undefined {
  const offset = readL1Entry(bytes, at);
  const isTable =
    offset !== undefined &&
    offset % clusterBytes === 0 &&
    isWithinCluster({ offset, lengthBytes: clusterBytes }, { subject, clusterBytes });
  return isTable ? offset : undefined;
}

function badL1Entry(entry: Buffer, { offset, clusterBytes }: { offset: number; clusterBytes: number }): ImageRefusal {
  const allowed = `zero, or an L2 table at a multiple of ${clusterBytes} within the file`;
  return refuse('qcow2-l1-entry', { offset, found: `entry 0x${entry.toString('hex')}`, allowed });
}

/**
 * Looks at every entry of the L2 tables and, where the guest's size would let a small file write out of all proportion, counts what they would write.
 * More standard clusters than the file has room for means that some are shared.
 */
function* findClusterRefusal(
  l2Offsets: Float64Array,
  header: Qcow2Header,
  subject: Subject,
): Steps<ImageRefusal | undefined> {
  const { clusterBytes, extendedL2 } = header;
  const fileClusters = Math.ceil(subject.sizeBytes / clusterBytes);
  const isCounted = header.virtualBytes > expansionLimit(subject);
  let standard = 0;
  let compressed = 0;
  const entryBytes = extendedL2 ? 16 : 8;
  const layout = { tableBytes: clusterBytes, entryBytes, fileBytes: subject.sizeBytes };
  const lastSector = createLastSector(header, subject);
  const refusal = yield* walkTables(l2Offsets, layout, (l2, offset) => {
    for (let at = 0; at + entryBytes <= l2.length; at += entryBytes) {
      const entry = readL2Entry(l2, at);
      if (entry.compressed) compressed++;
      else if (isBroken(entry, header)) return badL2Entry(l2.subarray(at, at + 8), offset + at, header);
      else if (entry.offset !== 0) standard++;
      else continue;
      const data = entry.compressed
        ? readCompressedEntry(l2, { at, clusterBits: header.clusterBits })
        : { offset: entry.offset, lengthBytes: clusterBytes };
      // The last sector of compressed data has some of it: QEMU makes up what is missing there, and is content with what comes out.
      const leftOut = entry.compressed ? SECTOR_BYTES : clusterBytes;
      if (!isWithinCluster(data, { subject, clusterBytes: leftOut }))
        return truncated({ offset: offset + at, what: 'a cluster', place: data.offset }, subject);
      if (entry.compressed) lastSector.add(data);
    }
    if (!isCounted) return undefined;
    if (standard > fileClusters) {
      return refuse('qcow2-clusters-shared', {
        offset,
        found: `${standard} clusters in a file of ${fileClusters}`,
        allowed: 'a cluster of its own each',
      });
    }
    return findExpansionRefusal((standard + compressed) * clusterBytes, { subject, offset });
  });
  if (refusal) return refusal;
  const cut = yield* lastSector.findCut();
  return cut && truncated({ offset: cut.offset, what: 'compressed data that is cut', place: cut.offset }, subject);
}

/** Of a cluster that is not compressed: whether QEMU calls it corrupt. */
function isBroken({ offset, hasReservedBits, readsAsZeros }: L2Entry, { version, clusterBytes }: Qcow2Header): boolean {
  return hasReservedBits || offset % clusterBytes !== 0 || (readsAsZeros && version < 3);
}

function badL2Entry(entry: Buffer, offset: number, { clusterBytes }: Qcow2Header): ImageRefusal {
  const allowed = `zero, a cluster at a multiple of ${clusterBytes}, or compressed data`;
  return refuse('qcow2-l2-entry', { offset, found: `entry 0x${entry.toString('hex')}`, allowed });
}

function truncated(
  { offset, what, place }: { offset: number; what: string; place: number },
  { sizeBytes }: Subject,
): ImageRefusal {
  const found = `${what} at byte ${place} of a file that ends at byte ${sizeBytes}`;
  return refuse('file-truncated', { offset, found, allowed: 'clusters within the file' });
}
