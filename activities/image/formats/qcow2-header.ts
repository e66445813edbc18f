import { KiB } from '../../../workflows/contract/bytes';
import { isWithin, overlap, u64be, type Check, type Range, type Subject } from './steps';
import { findSizeRefusal, refuse, type Refusal } from './verdict';

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

const DIRTY = 1n << 0n;
const CORRUPT = 1n << 1n;
const DATA_FILE = 1n << 2n;
const COMPRESSION_TYPE = 1n << 3n;
const EXTENDED_L2 = 1n << 4n;
const KNOWN_INCOMPATIBLE = DIRTY | CORRUPT | DATA_FILE | COMPRESSION_TYPE | EXTENDED_L2;
const AUTOCLEAR_RAW_DATA_FILE = 1n << 1n;
/** QEMU's QCOW_MAX_REFTABLE_SIZE. */
const MAX_REFCOUNT_TABLE_BYTES = 8 * 1024 * KiB;

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

/** @returns guest bytes that one L2 table maps. */
export function bytesPerL1Entry({ clusterBytes, extendedL2 }: Qcow2Header): number {
  return clusterBytes * (clusterBytes / (extendedL2 ? 16 : 8));
}

/** The rules that the header alone can break, the gravest first: what names another file, what hides data, then what does not fit. */
export const qcow2HeaderChecks: Check<Qcow2Header>[] = [
  ({ backingFileOffset }) =>
    backingFileOffset === 0
      ? undefined
      : refuse('qcow2-backing-file', {
          offset: 8,
          found: `a backing file name at byte ${backingFileOffset}`,
          allowed: 'none',
        }),
  ({ incompatible, autoclear }) =>
    (incompatible & DATA_FILE) === 0n && (autoclear & AUTOCLEAR_RAW_DATA_FILE) === 0n
      ? undefined
      : refuse('qcow2-external-data-file', {
          offset: (incompatible & DATA_FILE) === 0n ? 88 : 72,
          found: 'the external data file bit',
          allowed: 'guest data in the file itself',
        }),
  ({ incompatible }) =>
    (incompatible & ~KNOWN_INCOMPATIBLE) === 0n
      ? undefined
      : refuse('qcow2-incompatible-features', {
          offset: 72,
          found: `incompatible feature bits ${hex(incompatible)}`,
          allowed: `bits of ${hex(KNOWN_INCOMPATIBLE)}`,
        }),
  ({ incompatible }) =>
    (incompatible & CORRUPT) === 0n
      ? undefined
      : refuse('qcow2-marked-corrupt', { offset: 72, found: 'the corrupt bit', allowed: 'an image that is whole' }),
  checkEncryption,
  checkShape,
  ({ virtualBytes }, { policy }) => findSizeRefusal(virtualBytes, { policy, offset: 24 }),
  ({ virtualBytes }) =>
    virtualBytes % 512 === 0
      ? undefined
      : refuse('virtual-size-unaligned', {
          offset: 24,
          found: `${virtualBytes} bytes`,
          allowed: 'a multiple of 512 bytes',
        }),
  checkL1,
  checkRefcountTable,
  checkOverlaps,
];

function checkEncryption({ cryptMethod }: Qcow2Header, { policy }: Subject): Refusal | undefined {
  if (cryptMethod > 2)
    return refuse('qcow2-encryption-method', {
      offset: 32,
      found: `method ${cryptMethod}`,
      allowed: '0 (none), 1 (AES), 2 (LUKS)',
    });
  if (cryptMethod === 0 || policy.allowEncrypted) return undefined;
  return refuse('encrypted', {
    offset: 32,
    found: cryptMethod === 1 ? 'AES encryption' : 'LUKS encryption',
    allowed: 'no encryption of the whole image',
  });
}

function checkShape(header: Qcow2Header): Refusal | undefined {
  const { clusterBits, clusterBytes, extendedL2, headerBytes, refcountOrder, compressionType, incompatible, version } =
    header;
  const minBits = extendedL2 ? 14 : 9;
  if (clusterBits < minBits || clusterBits > 21)
    return refuse('qcow2-cluster-bits', { offset: 20, found: `${clusterBits}`, allowed: `${minBits} to 21` });
  if (version >= 3 && (headerBytes < QCOW2_V3_HEADER_BYTES || headerBytes > clusterBytes || headerBytes % 8 !== 0)) {
    return refuse('qcow2-header-length', {
      offset: 100,
      found: `${headerBytes}`,
      allowed: `a multiple of 8 from ${QCOW2_V3_HEADER_BYTES} to ${clusterBytes}`,
    });
  }
  if (refcountOrder > 6)
    return refuse('qcow2-refcount-order', { offset: 96, found: `${refcountOrder}`, allowed: '0 to 6' });
  const expected = (incompatible & COMPRESSION_TYPE) === 0n ? 0 : 1;
  if (compressionType === expected) return undefined;
  return refuse('qcow2-compression-type', {
    offset: 104,
    found: `type ${compressionType}`,
    allowed: expected === 0 ? '0 (zlib)' : '1 (zstd)',
  });
}

function checkL1(header: Qcow2Header, subject: Subject): Refusal | undefined {
  const { l1, l1Entries, clusterBytes, virtualBytes } = header;
  const maxEntries = Math.floor(subject.policy.maxTableBytes / 8);
  const neededEntries = Math.ceil(virtualBytes / bytesPerL1Entry(header));
  if (l1Entries < neededEntries || l1Entries > maxEntries) {
    return refuse('qcow2-l1-size', {
      offset: 36,
      found: `${l1Entries} entries for ${virtualBytes} bytes`,
      allowed: `${neededEntries} to ${maxEntries}`,
    });
  }
  return l1.offset % clusterBytes === 0 && isWithin(subject, l1)
    ? undefined
    : refuse('qcow2-l1-offset', {
        offset: 40,
        found: describe(l1),
        allowed: `a multiple of ${clusterBytes}, within the file of ${subject.sizeBytes} bytes`,
      });
}

function checkRefcountTable({ refcountTable, clusterBytes }: Qcow2Header, subject: Subject): Refusal | undefined {
  const { offset, lengthBytes } = refcountTable;
  const isBounded = lengthBytes > 0 && lengthBytes <= MAX_REFCOUNT_TABLE_BYTES;
  if (isBounded && offset % clusterBytes === 0 && isWithin(subject, refcountTable)) return undefined;
  return refuse('qcow2-refcount-table', {
    offset: 48,
    found: describe(refcountTable),
    allowed: `1 to ${MAX_REFCOUNT_TABLE_BYTES} bytes at a multiple of ${clusterBytes}, within the file of ${subject.sizeBytes} bytes`,
  });
}

function checkOverlaps({
  l1,
  refcountTable,
  clusterBytes,
  snapshotCount,
  snapshotsOffset,
}: Qcow2Header): Refusal | undefined {
  const header = { offset: 0, lengthBytes: clusterBytes };
  const areas = [
    header,
    l1,
    refcountTable,
    ...(snapshotCount > 0 ? [{ offset: snapshotsOffset, lengthBytes: 1 }] : []),
  ];
  for (const [index, area] of areas.entries()) {
    const other = areas.slice(index + 1).find((candidate) => overlap(area, candidate));
    if (other)
      return refuse('qcow2-tables-overlap', {
        offset: other.offset,
        found: `${describe(other)} within ${describe(area)}`,
        allowed: 'tables apart from each other',
      });
  }
  return undefined;
}

function describe({ offset, lengthBytes }: Range): string {
  return `${lengthBytes} bytes at byte ${offset}`;
}

function hex(bits: bigint): string {
  return `0x${bits.toString(16)}`;
}
