import { KiB } from '../../../workflows/contract/bytes';
import { bytesPerL1Entry, QCOW2_V3_HEADER_BYTES, type Qcow2Header } from './qcow2-header';
import { isWithinCluster, overlap, type Check, type Range, type Subject } from './steps';
import { findSizeRefusal, refuse, type ImageRefusal } from './verdict';

const DIRTY = 1n << 0n;
const CORRUPT = 1n << 1n;
const DATA_FILE = 1n << 2n;
const COMPRESSION_TYPE = 1n << 3n;
const EXTENDED_L2 = 1n << 4n;
const KNOWN_INCOMPATIBLE = DIRTY | CORRUPT | DATA_FILE | COMPRESSION_TYPE | EXTENDED_L2;
const AUTOCLEAR_RAW_DATA_FILE = 1n << 1n;
/** QEMU's QCOW_MAX_REFTABLE_SIZE. */
const MAX_REFCOUNT_TABLE_BYTES = 8 * 1024 * KiB;

/** The rules that the header alone can break, the gravest first: on names of other files, on hidden data, then on values that do not fit. */
export const qcow2HeaderChecks: Check<Qcow2Header>[] = [
  ({ backingFileOffset }) =>
    backingFileOffset === 0
      ? undefined
      : refuse('qcow2-backing-file', {
          offset: 8,
          found: `a backing file name at byte ${backingFileOffset}`,
          allowed: 'none',
        }),
  checkFeatures,
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

function checkFeatures({ incompatible, autoclear }: Qcow2Header): ImageRefusal | undefined {
  const hasDataFile = (incompatible & DATA_FILE) !== 0n;
  if (hasDataFile || (autoclear & AUTOCLEAR_RAW_DATA_FILE) !== 0n) {
    const allowed = 'guest data in the file itself';
    return refuse('qcow2-external-data-file', {
      offset: hasDataFile ? 72 : 88,
      found: 'an external data file',
      allowed,
    });
  }
  if ((incompatible & ~KNOWN_INCOMPATIBLE) !== 0n) {
    const [found, allowed] = [`incompatible features ${hex(incompatible)}`, `of ${hex(KNOWN_INCOMPATIBLE)}`];
    return refuse('qcow2-incompatible-features', { offset: 72, found, allowed });
  }
  if ((incompatible & CORRUPT) === 0n) return undefined;
  return refuse('qcow2-marked-corrupt', { offset: 72, found: 'the corrupt bit', allowed: 'an image that is whole' });
}

function checkEncryption({ cryptMethod }: Qcow2Header, { policy }: Subject): ImageRefusal | undefined {
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

function checkShape(header: Qcow2Header): ImageRefusal | undefined {
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

function checkL1(header: Qcow2Header, subject: Subject): ImageRefusal | undefined {
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
  return l1.offset % clusterBytes === 0 && isWithinCluster(l1, { subject, clusterBytes })
    ? undefined
    : refuse('qcow2-l1-offset', {
        offset: 40,
        found: describe(l1),
        allowed: `a multiple of ${clusterBytes}, within the file of ${subject.sizeBytes} bytes`,
      });
}

function checkRefcountTable({ refcountTable, clusterBytes }: Qcow2Header, subject: Subject): ImageRefusal | undefined {
  const { offset, lengthBytes } = refcountTable;
  const isBounded = lengthBytes > 0 && lengthBytes <= MAX_REFCOUNT_TABLE_BYTES;
  if (isBounded && offset % clusterBytes === 0 && isWithinCluster(refcountTable, { subject, clusterBytes }))
    return undefined;
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
}: Qcow2Header): ImageRefusal | undefined {
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
