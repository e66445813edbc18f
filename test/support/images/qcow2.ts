import { write, type Field } from './fields';

export interface Qcow2Options {
  version?: 2 | 3;
  clusterBits?: number;
  virtualBytes?: number;
  extendedL2?: boolean;
  extensions?: { type: number; data: Buffer }[];
  snapshots?: {
    vmStateBytes?: number;
    largeVmStateBytes?: number;
    l1Offset?: number;
    l1Entries?: number;
    extraBytes?: number;
  }[];
  /** L2 tables, each a list of entries; one L1 entry each. */
  l2Tables?: bigint[][];
}

export const QCOW2_V2_HEADER_BYTES = 72;
const V3_HEADER_BYTES = 112;

/** A well-formed qcow2: header, refcount table, refcount block, L1, snapshot table, then L2 tables, a cluster each at least. Refcounts are left zero. */
export function qcow2Image(options: Qcow2Options = {}): Buffer {
  const {
    version = 3,
    clusterBits = 16,
    virtualBytes = 64 * 1024 * 1024,
    extendedL2 = false,
    extensions = [],
    snapshots = [],
    l2Tables = [],
  } = options;
  const cluster = 2 ** clusterBits;
  const l1Entries = Math.max(l2Tables.length, Math.ceil(virtualBytes / (cluster * (cluster / (extendedL2 ? 16 : 8)))));
  const l1Clusters = Math.max(1, Math.ceil((l1Entries * 8) / cluster));
  const snapshotOffset = (3 + l1Clusters) * cluster;
  const l2Offset = snapshotOffset + cluster;
  const image = Buffer.alloc(l2Offset + l2Tables.length * cluster);
  write(image, [
    [0, 'bytes', Buffer.from('QFI\xfb', 'latin1')],
    [4, 'u32be', version],
    [20, 'u32be', clusterBits],
    [24, 'u64be', virtualBytes],
    [36, 'u32be', l1Entries],
    [40, 'u64be', 3 * cluster],
    [48, 'u64be', cluster],
    [56, 'u32be', 1],
    [60, 'u32be', snapshots.length],
    [64, 'u64be', snapshots.length > 0 ? snapshotOffset : 0],
    [cluster, 'u64be', 2 * cluster],
  ]);
  if (version === 3) write(image, [[72, 'u64be', extendedL2 ? 16 : 0], [96, 'u32be', 4], [100, 'u32be', V3_HEADER_BYTES]]); // prettier-ignore
  writeExtensions(image, version === 3 ? V3_HEADER_BYTES : QCOW2_V2_HEADER_BYTES, extensions);
  Buffer.concat(snapshots.map((snapshot) => snapshotEntry(snapshot, 3 * cluster))).copy(image, snapshotOffset);
  for (const [index, entries] of l2Tables.entries()) {
    const offset = l2Offset + index * cluster;
    write(image, [
      [3 * cluster + index * 8, 'u64be', (1n << 63n) | BigInt(offset)],
      ...entries.map((entry, at): Field => [offset + at * (extendedL2 ? 16 : 8), 'u64be', entry]),
    ]);
  }
  return image;
}

function writeExtensions(image: Buffer, start: number, extensions: { type: number; data: Buffer }[]): void {
  let at = start;
  for (const { type, data } of extensions) {
    write(image, [[at, 'u32be', type], [at + 4, 'u32be', data.length], [at + 8, 'bytes', data]]); // prettier-ignore
    at += 8 + Math.ceil(data.length / 8) * 8;
  }
}

function snapshotEntry(snapshot: NonNullable<Qcow2Options['snapshots']>[number], defaultL1: number): Buffer {
  const { vmStateBytes = 0, largeVmStateBytes = 0, l1Offset = defaultL1, l1Entries = 1, extraBytes = 16 } = snapshot;
  const entry = Buffer.alloc(Math.ceil((40 + extraBytes + 4) / 8) * 8);
  write(entry, [
    [0, 'u64be', l1Offset],
    [8, 'u32be', l1Entries],
    [12, 'u16be', 1],
    [14, 'u16be', 3],
    [32, 'u32be', vmStateBytes],
    [36, 'u32be', extraBytes],
    [40 + extraBytes, 'bytes', '1one'],
  ]);
  return extraBytes >= 8 ? write(entry, [[40, 'u64be', largeVmStateBytes]]) : entry;
}
