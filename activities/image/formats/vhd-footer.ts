import { SECTOR_BYTES } from '../../../workflows/contract/bytes';
import { u64be, type Check } from './steps';
import { findSizeRefusal, refuse } from './verdict';

/** Fields of a VHD's 512-byte footer (Microsoft Virtual Hard Disk Image Format Specification, 2006). */
export interface VhdFooter {
  /** Where this footer was read. */
  offset: number;
  bytes: Buffer;
  version: number;
  dataOffset: number;
  currentBytes: number;
  /** Whether the size is what the footer says, and not what its geometry has room for. */
  isSized: boolean;
  /** Guest-visible bytes. */
  virtualBytes: number;
  type: number;
}

export const VHD_FOOTER_BYTES = 512;
export const VHD_FIXED = 2;
export const VHD_DYNAMIC = 3;
const VHD_DIFFERENCING = 4;
const VERSION = 0x10000;
const MAX_CYLINDERS_HEADS_SECTORS = 65_535 * 16 * 255;
/**
 * Programs whose disks have the size of their geometry: Virtual PC, and QEMU where it was not told otherwise. All others' have the size that the footer
 * says, their geometry being rounded. Sources: QEMU block/vpc.c since 2025, VirtualBox VHD.cpp.
 */
const geometryCreators = new Set(['vpc ', 'qemu']);

/** @param offset where the 512 `bytes` were read. */
export function parseVhdFooter(bytes: Buffer, offset: number): VhdFooter {
  const currentBytes = u64be(bytes, 48);
  const geometrySectors = bytes.readUInt16BE(56) * bytes.readUInt8(58) * bytes.readUInt8(59);
  const isSized =
    !geometryCreators.has(bytes.toString('latin1', 28, 32)) || geometrySectors === MAX_CYLINDERS_HEADS_SECTORS;
  return {
    offset,
    bytes,
    version: bytes.readUInt32BE(12),
    dataOffset: u64be(bytes, 16),
    currentBytes,
    isSized,
    virtualBytes: isSized ? currentBytes : geometrySectors * SECTOR_BYTES,
    type: bytes.readUInt32BE(60),
  };
}

/** @returns whether the ones' complement sum of all bytes is what stands at `checksumAt`. */
export function isVhdChecksumValid(bytes: Buffer, checksumAt: number): boolean {
  let sum = 0;
  for (const [index, byte] of bytes.entries()) if (index < checksumAt || index >= checksumAt + 4) sum += byte;
  return ~sum >>> 0 === bytes.readUInt32BE(checksumAt);
}

export const vhdFooterChecks: Check<VhdFooter>[] = [
  ({ bytes, version, offset }) =>
    bytes.toString('latin1', 0, 8) === 'conectix' && version === VERSION && isVhdChecksumValid(bytes, 64)
      ? undefined
      : refuse('vhd-footer', {
          offset,
          found: `version 0x${version.toString(16)} or a checksum that is wrong`,
          allowed: 'version 1.0 with its checksum',
        }),
  ({ type, offset }) =>
    type === VHD_DIFFERENCING
      ? refuse('vhd-parent', { offset: offset + 60, found: 'a differencing disk', allowed: 'no parent' })
      : undefined,
  ({ type, offset }) =>
    type === VHD_FIXED || type === VHD_DYNAMIC
      ? undefined
      : refuse('vhd-type', { offset: offset + 60, found: `type ${type}`, allowed: '2 (fixed), 3 (dynamic)' }),
  ({ currentBytes, offset }, { policy }) => findSizeRefusal(currentBytes, { policy, offset: offset + 48 }),
  ({ virtualBytes, offset }, { policy }) => findSizeRefusal(virtualBytes, { policy, offset: offset + 56 }),
  ({ currentBytes, offset }) =>
    currentBytes % SECTOR_BYTES === 0
      ? undefined
      : refuse('virtual-size-unaligned', {
          offset: offset + 48,
          found: `${currentBytes} bytes`,
          allowed: 'a multiple of 512 bytes',
        }),
];
