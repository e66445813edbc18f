import { KiB, roundUpTo } from '../../workflows/contract/bytes';
import type { SparseExtent, FilePart, ImageFile, SparseReader } from './file-parts';

/*
 * A qcow2 of version 3 without features, as docs/interop/qcow2.txt of QEMU has it:
 *
 *     header | refcount table | refcount blocks | L1 table | L2 tables | data clusters in the guest's order
 *
 * All that is before the data follows from where the disk has data, so the file is made while it is read, with its size known before.
 */

const CLUSTER_BYTES = 64 * KiB;
const CLUSTER_BITS = 16;
const ENTRY_BYTES = 8;
const ENTRIES_PER_TABLE = CLUSTER_BYTES / ENTRY_BYTES;
/** Guest bytes of one L2 table: 512 MiB. */
const REGION_CLUSTERS = ENTRIES_PER_TABLE;
const REFCOUNT_ORDER = 4;
const REFCOUNTS_PER_BLOCK = CLUSTER_BYTES / 2;
const HEADER_BYTES = 104;
/** Set where a cluster has one reference. */
const COPIED = 1n << 63n;

/** Places in clusters of the file. */
interface Places {
  refcountTable: number;
  refcountTableClusters: number;
  refcountBlocks: number;
  refcountBlockCount: number;
  l1: number;
  l1Entries: number;
  l2: number;
  data: number;
  end: number;
}

/** A run of the guest's clusters that are in the file. */
interface Run {
  first: number;
  count: number;
}

/** Reads where the disk has data, none of it. */
export async function qcow2FileOf(disk: SparseReader): Promise<ImageFile> {
  const regions: number[] = [];
  let dataClusters = 0;
  for await (const { first, count } of runsOf(disk)) {
    dataClusters += count;
    for (let region = regionOf(first); region <= regionOf(first + count - 1); region += 1)
      if (regions.at(-1) !== region) regions.push(region);
  }
  const places = placesOf(disk.sizeBytes, { tables: regions.length, dataClusters });
  return {
    sizeBytes: places.end * CLUSTER_BYTES,
    async *parts() {
      yield headerOf(disk.sizeBytes, places);
      yield refcountTableOf(places);
      yield* refcountBlocksOf(places);
      yield l1TableOf(places, regions);
      yield* l2TablesOf(disk, places);
      yield* dataOf(disk);
    },
  };
}

/** Data rounded to whole clusters, each of them once. */
async function* runsOf(disk: SparseReader): AsyncGenerator<Run> {
  let next = 0;
  for await (const { offset, lengthBytes } of disk.extents()) {
    const first = Math.max(next, Math.floor(offset / CLUSTER_BYTES));
    next = Math.max(next, Math.ceil((offset + lengthBytes) / CLUSTER_BYTES));
    if (next > first) yield { first, count: next - first };
  }
}

function regionOf(cluster: number): number {
  return Math.floor(cluster / REGION_CLUSTERS);
}

function placesOf(virtualBytes: number, { tables, dataClusters }: { tables: number; dataClusters: number }): Places {
  const l1Entries = Math.ceil(virtualBytes / (REGION_CLUSTERS * CLUSTER_BYTES));
  const l1Clusters = clustersOf(l1Entries * ENTRY_BYTES);
  const others = 1 + l1Clusters + tables + dataClusters;
  // The refcounts count their own clusters too: a few rounds until nothing is added.
  for (let refcountBlockCount = 1; ;) {
    const refcountTableClusters = clustersOf(refcountBlockCount * ENTRY_BYTES);
    const end = others + refcountTableClusters + refcountBlockCount;
    const needed = Math.ceil(end / REFCOUNTS_PER_BLOCK);
    if (needed <= refcountBlockCount) {
      const refcountBlocks = 1 + refcountTableClusters;
      const l1 = refcountBlocks + refcountBlockCount;
      const l2 = l1 + l1Clusters;
      const refcounts = { refcountTable: 1, refcountTableClusters, refcountBlocks, refcountBlockCount };
      return { ...refcounts, l1, l1Entries, l2, data: l2 + tables, end };
    }
    refcountBlockCount = needed;
  }
}

function clustersOf(bytes: number): number {
  return Math.ceil(bytes / CLUSTER_BYTES);
}

function headerOf(virtualBytes: number, { l1, l1Entries, refcountTable, refcountTableClusters }: Places): Buffer {
  const header = Buffer.alloc(CLUSTER_BYTES);
  header.write('QFI\xfb', 'latin1');
  header.writeUInt32BE(3, 4);
  header.writeUInt32BE(CLUSTER_BITS, 20);
  header.writeBigUInt64BE(BigInt(virtualBytes), 24);
  header.writeUInt32BE(l1Entries, 36);
  header.writeBigUInt64BE(offsetOf(l1), 40);
  header.writeBigUInt64BE(offsetOf(refcountTable), 48);
  header.writeUInt32BE(refcountTableClusters, 56);
  header.writeUInt32BE(REFCOUNT_ORDER, 96);
  header.writeUInt32BE(HEADER_BYTES, 100);
  return header;
}

function refcountTableOf({ refcountTableClusters, refcountBlocks, refcountBlockCount }: Places): Buffer {
  const table = Buffer.alloc(refcountTableClusters * CLUSTER_BYTES);
  for (let block = 0; block < refcountBlockCount; block += 1)
    table.writeBigUInt64BE(offsetOf(refcountBlocks + block), block * ENTRY_BYTES);
  return table;
}

function* refcountBlocksOf({ refcountBlockCount, end }: Places): Generator<Buffer> {
  for (let block = 0; block < refcountBlockCount; block += 1) {
    const counts = Buffer.alloc(CLUSTER_BYTES);
    const used = Math.min(REFCOUNTS_PER_BLOCK, end - block * REFCOUNTS_PER_BLOCK);
    for (let index = 0; index < used; index += 1) counts.writeUInt16BE(1, index * 2);
    yield counts;
  }
}

function l1TableOf({ l1Entries, l2 }: Places, regions: readonly number[]): Buffer {
  const table = Buffer.alloc(roundUpTo(l1Entries * ENTRY_BYTES, CLUSTER_BYTES));
  for (const [index, region] of regions.entries())
    table.writeBigUInt64BE(offsetOf(l2 + index) | COPIED, region * ENTRY_BYTES);
  return table;
}

async function* l2TablesOf(disk: SparseReader, { data }: Places): AsyncGenerator<Buffer> {
  let table: { region: number; bytes: Buffer } | undefined;
  let next = data;
  for await (const { first, count } of runsOf(disk)) {
    for (let cluster = first; cluster < first + count; cluster += 1) {
      const region = regionOf(cluster);
      if (table?.region !== region) {
        if (table !== undefined) yield table.bytes;
        table = { region, bytes: Buffer.alloc(CLUSTER_BYTES) };
      }
      table.bytes.writeBigUInt64BE(offsetOf(next) | COPIED, (cluster % ENTRIES_PER_TABLE) * ENTRY_BYTES);
      next += 1;
    }
  }
  if (table !== undefined) yield table.bytes;
}

/** The last cluster may be more than the disk has. */
async function* dataOf(disk: SparseReader): AsyncGenerator<FilePart> {
  for await (const { first, count } of runsOf(disk)) {
    const extent: SparseExtent = { offset: first * CLUSTER_BYTES, lengthBytes: count * CLUSTER_BYTES };
    const beyond = Math.max(0, extent.offset + extent.lengthBytes - disk.sizeBytes);
    yield { kind: 'guest', offset: extent.offset, lengthBytes: extent.lengthBytes - beyond };
    if (beyond > 0) yield { kind: 'zeros', lengthBytes: beyond };
  }
}

function offsetOf(cluster: number): bigint {
  return BigInt(cluster) * BigInt(CLUSTER_BYTES);
}
