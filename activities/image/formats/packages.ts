import type { Signature } from './signatures';
import { refuse, type ImageRefusal } from './verdict';

/** A file that has a disk in it: its kind, and how to make the disk of it. */
export interface Package {
  what: string;
  remedy: string;
}

interface Magic extends Package {
  matches: (head: Buffer) => boolean;
}

const TAR_HEADER_BYTES = 512;
const TAR_CHECKSUM = { start: 148, end: 156 };
const unpack = 'the disk itself: take it out of the archive and upload that';
const decompress =
  'the disk itself: decompress it, or upload it as gzip, xz or zstd with the container format compressed';
const compressed = (what: string, matches: Magic['matches']): Magic => ({ what, remedy: decompress, matches });
const archive = (what: string, matches: Magic['matches']): Magic => ({ what, remedy: unpack, matches });

/** Sources: RFC 1952 and 8878, the formats of xz, LZMA, bzip2, lzip, LZ4 and lzop, POSIX ustar, APPNOTE of zip, 7zFormat.txt. */
const magics: Magic[] = [
  compressed('a gzip file', (head) => startsWith('1f8b08')(head) && ((head[3] ?? 0xff) & 0xe0) === 0),
  compressed('an xz file', startsWith('fd377a585a00')),
  compressed('a zstd file', startsWithZstd),
  compressed('an lzma file', startsLikeLzma),
  compressed('a bzip2 file', (head) => /^BZh[1-9]1AY&SY/.test(head.toString('latin1', 0, 10))),
  compressed('an lzip file', startsWith('4c5a495001')),
  compressed('an LZ4 file', startsWith('04224d18')),
  compressed('an lzop file', startsWith('894c5a4f000d0a1a0a')),
  archive('a tar archive, such as an OVA', startsLikeTar),
  archive('a zip archive', startsWith('504b0304')),
  archive('a 7z archive', startsWith('377abcaf271c')),
];

/** @returns what the file is instead of a disk. No disk that a machine boots begins so. @param head its first bytes, 512 at least unless it is shorter. */
export function findPackage(head: Buffer): Package | undefined {
  return magics.find(({ matches }) => matches(head));
}

/** A boot sector or any other signature tells a disk, whatever its first bytes. */
export function findPackageRefusal(
  head: Buffer,
  signatures: readonly Signature[],
  declared: string,
): ImageRefusal | undefined {
  const found = signatures.length === 0 ? findPackage(head) : undefined;
  return (
    found && refuse('disk-packed', { offset: 0, found: `${found.what}, declared ${declared}`, allowed: found.remedy })
  );
}

export function startsWith(hex: string): (head: Buffer) => boolean {
  return (head) => head.toString('hex', 0, hex.length / 2) === hex;
}

/** A frame, or a skippable one before it (RFC 8878, section 3.1.2), as `pzstd` writes. */
export function startsWithZstd(head: Buffer): boolean {
  return startsWith('28b52ffd')(head) || /^5[0-9a-f]2a4d18$/.test(head.toString('hex', 0, 4));
}

/** The header has no signature: the usual properties, a dictionary of a usual size, a size that is unknown or below 1 TiB. */
function startsLikeLzma(head: Buffer): boolean {
  if (head.length < 13 || head[0] !== 0x5d) return false;
  const dictionary = Math.log2(head.readUInt32LE(1));
  const size = head.readBigUInt64LE(5);
  return Number.isInteger(dictionary) && dictionary >= 12 && (size === 0xffff_ffff_ffff_ffffn || size < 2n ** 40n);
}

/** A member's header, with its checksum: the name before it may be anything. */
function startsLikeTar(head: Buffer): boolean {
  if (head.length < TAR_HEADER_BYTES || head.toString('latin1', 257, 262) !== 'ustar') return false;
  const { start, end } = TAR_CHECKSUM;
  const expected = parseInt(head.toString('latin1', start, end).trim(), 8);
  const sum = head
    .subarray(0, TAR_HEADER_BYTES)
    .reduce((total, byte, at) => total + (at >= start && at < end ? 0x20 : byte), 0);
  return sum === expected;
}
