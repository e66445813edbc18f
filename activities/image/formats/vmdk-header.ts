import { SECTOR_BYTES } from '../../../workflows/contract/bytes';
import { isWithin, u64le, type Check, type Subject } from './steps';
import { isPowerOfTwo } from './tables';
import { findSizeRefusal, refuse, type ImageRefusal } from './verdict';

/** Fields of a sparse extent's header (VMware Virtual Disk Format 1.1); sectors where the name says so, else bytes. */
export interface VmdkHeader {
  version: number;
  flags: number;
  capacitySectors: number;
  virtualBytes: number;
  grainSectors: number;
  grainBytes: number;
  descriptorSector: number;
  descriptorBytes: number;
  entriesPerTable: number;
  redundantGdSector: number;
  gdSector: number;
  /** Whether a stream leaves it to its footer to say where the grain directory is. */
  hasFooter: boolean;
  overheadSectors: number;
  newlines: string;
  compression: number;
}

const GD_AT_END = 0xffff_ffff_ffff_ffffn;
export const VMDK_FLAG_REDUNDANT_GD = 1 << 1;
export const VMDK_FLAG_ZERO_GRAIN = 1 << 2;
const FLAG_COMPRESSED = 1 << 16;
const FLAG_MARKERS = 1 << 17;
const NEWLINES = '0a200d0a';
const ENTRIES_PER_TABLE = 512;
const MIN_GRAIN_SECTORS = 8;
const MAX_GRAIN_SECTORS = 32 * 1024;
const MAX_DESCRIPTOR_SECTORS = 128;

/** @param sector the 512 bytes that carry the header. */
export function parseVmdkHeader(sector: Buffer): VmdkHeader {
  const capacitySectors = u64le(sector, 12);
  const grainSectors = u64le(sector, 20);
  return {
    version: sector.readUInt32LE(4),
    flags: sector.readUInt32LE(8),
    capacitySectors,
    virtualBytes: capacitySectors * SECTOR_BYTES,
    grainSectors,
    grainBytes: grainSectors * SECTOR_BYTES,
    descriptorSector: u64le(sector, 28),
    descriptorBytes: u64le(sector, 36) * SECTOR_BYTES,
    entriesPerTable: sector.readUInt32LE(44),
    redundantGdSector: u64le(sector, 48),
    gdSector: u64le(sector, 56),
    // Compared as it stands: as a double, a hundred other numbers are the same.
    hasFooter: sector.readBigUInt64LE(56) === GD_AT_END,
    overheadSectors: u64le(sector, 64),
    newlines: sector.toString('hex', 73, 77),
    compression: sector.readUInt16LE(77),
  };
}

export function isAllowedVersion({ version }: VmdkHeader): boolean {
  return version >= 1 && version <= 3;
}

/** @returns whether grains are deflated, each behind a marker. */
export function isStream({ flags, compression }: VmdkHeader): boolean {
  return (flags & FLAG_COMPRESSED) !== 0 && (flags & FLAG_MARKERS) !== 0 && compression === 1;
}

export const vmdkHeaderChecks: Check<VmdkHeader>[] = [
  (header) =>
    isAllowedVersion(header)
      ? undefined
      : refuse('vmdk-version', { offset: 4, found: `version ${header.version}`, allowed: '1 to 3' }),
  // A capacity of zero would make QEMU open whatever files the descriptor names.
  ({ virtualBytes }, { policy }) => findSizeRefusal(virtualBytes, { policy, offset: 12 }),
  checkIntegrity,
  checkGeometry,
  checkDescriptorPlace,
  ({ overheadSectors }, subject) =>
    isWithin(subject, { offset: 0, lengthBytes: overheadSectors * SECTOR_BYTES })
      ? undefined
      : refuse('vmdk-tables', {
          offset: 64,
          found: `grains from sector ${overheadSectors}`,
          allowed: `within the file of ${subject.sizeBytes} bytes`,
        }),
];

function checkIntegrity(header: VmdkHeader): ImageRefusal | undefined {
  const { flags, compression, newlines } = header;
  if (newlines !== NEWLINES)
    return refuse('vmdk-header', { offset: 73, found: `bytes 0x${newlines}`, allowed: `0x${NEWLINES}` });
  const isPlain = (flags & (FLAG_COMPRESSED | FLAG_MARKERS)) === 0 && compression === 0;
  if (isPlain || isStream(header)) return undefined;
  return refuse('vmdk-header', {
    offset: 8,
    found: `flags 0x${flags.toString(16)} with compression ${compression}`,
    allowed: 'both or neither',
  });
}

function checkGeometry(
  { grainSectors, entriesPerTable, capacitySectors, grainBytes }: VmdkHeader,
  { policy }: Subject,
): ImageRefusal | undefined {
  if (!isPowerOfTwo(grainSectors) || grainSectors < MIN_GRAIN_SECTORS || grainSectors > MAX_GRAIN_SECTORS) {
    return refuse('vmdk-geometry', {
      offset: 20,
      found: `${grainSectors} sectors a grain`,
      allowed: `a power of two from ${MIN_GRAIN_SECTORS} to ${MAX_GRAIN_SECTORS}`,
    });
  }
  if (entriesPerTable !== ENTRIES_PER_TABLE)
    return refuse('vmdk-geometry', {
      offset: 44,
      found: `${entriesPerTable} grains a table`,
      allowed: `${ENTRIES_PER_TABLE}`,
    });
  const directoryBytes = Math.ceil((capacitySectors * SECTOR_BYTES) / (grainBytes * ENTRIES_PER_TABLE)) * 4;
  if (directoryBytes <= policy.maxTableBytes) return undefined;
  return refuse('vmdk-geometry', {
    offset: 12,
    found: `a grain directory of ${directoryBytes} bytes`,
    allowed: `at most ${policy.maxTableBytes}`,
  });
}

function checkDescriptorPlace(
  { descriptorSector, descriptorBytes }: VmdkHeader,
  subject: Subject,
): ImageRefusal | undefined {
  const isBounded =
    descriptorSector === 1 && descriptorBytes > 0 && descriptorBytes <= MAX_DESCRIPTOR_SECTORS * SECTOR_BYTES;
  if (isBounded && isWithin(subject, { offset: SECTOR_BYTES, lengthBytes: descriptorBytes })) return undefined;
  return refuse('vmdk-descriptor-out-of-bounds', {
    offset: 28,
    found: `${descriptorBytes} bytes at sector ${descriptorSector}`,
    allowed: `1 to ${MAX_DESCRIPTOR_SECTORS} sectors at sector 1, within the file`,
  });
}
