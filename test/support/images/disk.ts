import { write } from './fields';

const MiB = 1024 * 1024;

/** A raw disk of zeros with a mark at its end. */
export function rawDisk(sizeBytes = 4 * MiB): Buffer {
  return write(Buffer.alloc(sizeBytes), [[sizeBytes - 1, 'u8', 1]]);
}

/** A raw disk with an MBR and one Linux partition. */
export function mbrDisk(sizeBytes = 4 * MiB): Buffer {
  return write(rawDisk(sizeBytes), [[446, 'u8', 0x80], [450, 'u8', 0x83], [454, 'u32le', 2048], [458, 'u32le', 4096], [510, 'u16le', 0xaa55]]); // prettier-ignore
}

/** A raw disk with a protective MBR and a GPT header. */
export function gptDisk(sizeBytes = 4 * MiB): Buffer {
  return write(rawDisk(sizeBytes), [
    [447, 'bytes', Buffer.from('000200', 'hex')],
    [450, 'u8', 0xee],
    [454, 'u32le', 1],
    [458, 'u32le', sizeBytes / 512 - 1],
    [510, 'u16le', 0xaa55],
    [512, 'bytes', 'EFI PART'],
  ]);
}

/** A raw disk whose first partition, at 1 MiB, is a LUKS container. */
export function luksPartitionDisk(): Buffer {
  return write(mbrDisk(), [[MiB, 'bytes', luksMagic]]);
}

export const luksMagic = Buffer.from('LUKS\xba\xbe\x00\x01', 'latin1');

/** A disk that is a LUKS container as a whole. */
export function luksDisk(): Buffer {
  return write(rawDisk(), [[0, 'bytes', luksMagic]]);
}

/** An ISO 9660 volume: primary descriptor, terminator, volume of `blocks` of 2 KiB. */
export function isoImage({ blocks = 1024, fileBytes = 1024 * 2048 } = {}): Buffer {
  const at = 32_768;
  return write(Buffer.alloc(fileBytes), [
    [at, 'u8', 1],
    [at + 1, 'bytes', 'CD001'],
    [at + 6, 'u8', 1],
    [at + 80, 'u32le', blocks],
    [at + 84, 'u32be', blocks],
    [at + 128, 'u16le', 2048],
    [at + 130, 'u16be', 2048],
    [at + 2048, 'u8', 255],
    [at + 2049, 'bytes', 'CD001'],
  ]);
}

/** An ISO that is also a disk with a partition table, as installers are. */
export function hybridIso(): Buffer {
  return write(isoImage(), [[446, 'u8', 0x80], [450, 'u8', 0x17], [458, 'u32le', 4096], [510, 'u16le', 0xaa55]]); // prettier-ignore
}

/** A UDF volume without ISO 9660. */
export function udfImage(): Buffer {
  return write(Buffer.alloc(2 * MiB), [[32_769, 'bytes', 'BEA01'], [34_817, 'bytes', 'NSR03'], [36_865, 'bytes', 'TEA01']]); // prettier-ignore
}

/** The beginnings of formats that are never let through. */
export const bannedHeads = {
  qcow: Buffer.from('QFI\xfb\0\0\0\x01', 'latin1'),
  qed: Buffer.from('QED\0'),
  parallels: Buffer.from('WithoutFreeSpace'),
  'parallels extended': Buffer.from('WithouFreSpacExt'),
  bochs: Buffer.from('Bochs Virtual HD Image'),
  cloop: Buffer.from('#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n'),
  dmg: Buffer.from('koly'),
};
