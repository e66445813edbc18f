import { KiB, SECTOR_BYTES } from '../../../workflows/contract/bytes';

/** Formats that a file's bytes can announce. `luks`, `gpt` and `mbr` are what a raw disk may hold; the others are image formats. */
export type SignatureFormat =
  | 'qcow2'
  | 'vmdk'
  | 'vhd'
  | 'vhdx'
  | 'vdi'
  | 'iso' // prettier-ignore
  | 'qcow'
  | 'qed'
  | 'parallels'
  | 'bochs'
  | 'cloop'
  | 'dmg' // prettier-ignore
  | 'luks'
  | 'partition-table';

/** A signature that was seen. */
export interface Signature {
  format: SignatureFormat;
  offset: number;
}

/** Bytes from the start within which every signature lies: an ISO's descriptors begin at 32 KiB, a UDF's follow them. */
export const HEAD_BYTES = 64 * KiB;
/** Bytes at the end that carry the footers of VHD and DMG. */
export const TAIL_BYTES = 512;

interface Magic {
  format: SignatureFormat;
  offset: number;
  bytes: Buffer;
}

/** As QEMU 7.2's block drivers probe them; fixed offset, fixed bytes. */
const headMagics: Magic[] = [
  { format: 'vmdk', offset: 0, bytes: Buffer.from('KDMV') },
  { format: 'vmdk', offset: 0, bytes: Buffer.from('COWD') },
  // ESXi's seSparse: constant magic and version, little endian.
  { format: 'vmdk', offset: 0, bytes: Buffer.from('bebafeca000000000100000002000000', 'hex') },
  { format: 'vhd', offset: 0, bytes: Buffer.from('conectix') },
  { format: 'vhdx', offset: 0, bytes: Buffer.from('vhdxfile') },
  { format: 'vdi', offset: 0x40, bytes: Buffer.from('7f10dabe', 'hex') },
  { format: 'qed', offset: 0, bytes: Buffer.from('QED\0') },
  { format: 'parallels', offset: 0, bytes: Buffer.from('WithoutFreeSpace') },
  { format: 'parallels', offset: 0, bytes: Buffer.from('WithouFreSpacExt') },
  { format: 'bochs', offset: 0, bytes: Buffer.from('Bochs Virtual HD Image') },
  { format: 'cloop', offset: 0, bytes: Buffer.from('#!/bin/sh\n#V2.0 Format\n') },
  { format: 'dmg', offset: 0, bytes: Buffer.from('koly') },
  { format: 'luks', offset: 0, bytes: Buffer.from('LUKS\xba\xbe', 'latin1') },
];
const tailMagics: Magic[] = [
  { format: 'vhd', offset: 0, bytes: Buffer.from('conectix') },
  { format: 'dmg', offset: 0, bytes: Buffer.from('koly') },
];

const QCOW_MAGIC = Buffer.from('QFI\xfb', 'latin1');
/** ECMA-167 and ISO 9660 standard identifiers, one byte into a 2 KiB descriptor. */
const volumeIdentifiers = new Set(['CD001', 'BEA01', 'NSR02', 'NSR03', 'TEA01', 'CDW02']);
const DESCRIPTOR_BYTES = 2 * KiB;
const FIRST_DESCRIPTOR = 32 * KiB;

/** @returns every signature in the first bytes of a file; each format once, at its first place. @param head up to `HEAD_BYTES`; the rest is not examined. */
export function findSignatures(head: Buffer): Signature[] {
  const found = findMagics(head, headMagics);
  const qcow = findQcow(head);
  if (qcow) found.push(qcow);
  if (startsLikeVmdkDescriptor(head)) found.push({ format: 'vmdk', offset: 0 });
  const volume = findVolumeDescriptor(head);
  if (volume) found.push(volume);
  if (hasBootSignature(head)) found.push({ format: 'partition-table', offset: SECTOR_BYTES - 2 });
  return found.filter((signature, index) => found.findIndex(({ format }) => format === signature.format) === index);
}

/** @returns the footers in the last bytes of a file. @param tail up to `TAIL_BYTES`. @param offset where `tail` begins in the file. */
export function findTailSignatures(tail: Buffer, offset: number): Signature[] {
  return findMagics(tail, tailMagics).map((signature) => ({ ...signature, offset: offset + signature.offset }));
}

function findMagics(bytes: Buffer, magics: Magic[]): Signature[] {
  return magics
    .filter((magic) => bytes.subarray(magic.offset, magic.offset + magic.bytes.length).equals(magic.bytes))
    .map(({ format, offset }) => ({ format, offset }));
}

/** qcow version 1 shares its magic with qcow2; any other version is qcow2's to refuse. */
function findQcow(head: Buffer): Signature | undefined {
  if (!head.subarray(0, 4).equals(QCOW_MAGIC)) return undefined;
  const isVersion1 = head.length >= 8 && head.readUInt32BE(4) === 1;
  return { format: isVersion1 ? 'qcow' : 'qcow2', offset: 0 };
}

/** A VMDK can be a text that names other files: comments and blank lines, then `version=`, as QEMU probes it; or anything readable that has a createType. */
function startsLikeVmdkDescriptor(head: Buffer): boolean {
  const text = head.toString('latin1');
  if (/^(?:#[^\n]*\n|[ \t]*\r?\n)*[ \t]*version[ \t]*=/i.test(text)) return true;
  if (/^\s*#\s*disk\s+descriptor\s*file/i.test(text.slice(0, 4 * KiB))) return true;
  const readable = /^[\t\n\r\x20-\x7e]*/.exec(text)?.[0] ?? '';
  return readable.length >= Math.min(text.length, SECTOR_BYTES) && /createtype\s*=/i.test(readable);
}

function findVolumeDescriptor(head: Buffer): Signature | undefined {
  for (let offset = FIRST_DESCRIPTOR; offset + 6 <= Math.min(head.length, HEAD_BYTES); offset += DESCRIPTOR_BYTES) {
    if (volumeIdentifiers.has(head.toString('latin1', offset + 1, offset + 6)))
      return { format: 'iso', offset: offset + 1 };
  }
  return undefined;
}

/** MBR, protective MBR of a GPT and boot sectors of file systems all end so. */
function hasBootSignature(head: Buffer): boolean {
  return head.length >= SECTOR_BYTES && head.readUInt16LE(SECTOR_BYTES - 2) === 0xaa55;
}
