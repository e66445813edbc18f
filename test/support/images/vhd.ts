import { write } from './fields';

const MiB = 1024 * 1024;
const BLOCK_BYTES = 2 * MiB;
const DYNAMIC_HEADER = 512;
const TABLE = 1536;

export interface VhdOptions {
  type?: 'fixed' | 'dynamic';
  virtualBytes?: number;
  /** Sector of each block, undefined for one without data. */
  blocks?: (number | undefined)[];
  /** Four characters; the geometry always has room for less than the disk. */
  creator?: string;
}

/** A well-formed VHD, its size told by the footer. */
export function vhdImage({
  type = 'dynamic',
  virtualBytes = 16 * MiB,
  blocks = [],
  creator = 'win ',
}: VhdOptions = {}): Buffer {
  const footer = vhdFooter(type, virtualBytes, creator);
  if (type === 'fixed') return Buffer.concat([Buffer.alloc(virtualBytes), footer]);
  const entries = Math.max(blocks.length, Math.ceil(virtualBytes / BLOCK_BYTES));
  const dataStart = Math.ceil((TABLE + entries * 4) / 512) * 512;
  const dataEnd = Math.max(
    dataStart,
    ...blocks.map((sector) => (sector === undefined ? 0 : sector * 512 + 512 + BLOCK_BYTES)),
  );
  const image = Buffer.alloc(dataEnd + 512);
  footer.copy(image, 0);
  footer.copy(image, dataEnd);
  write(image, [
    [DYNAMIC_HEADER, 'bytes', 'cxsparse'],
    [DYNAMIC_HEADER + 8, 'u64be', 0xffff_ffff_ffff_ffffn],
    [DYNAMIC_HEADER + 16, 'u64be', TABLE],
    [DYNAMIC_HEADER + 24, 'u32be', 0x10000],
    [DYNAMIC_HEADER + 28, 'u32be', entries],
    [DYNAMIC_HEADER + 32, 'u32be', BLOCK_BYTES],
  ]);
  for (let block = 0; block < entries; block++)
    write(image, [[TABLE + block * 4, 'u32be', blocks[block] ?? 0xffffffff]]);
  return withVhdChecksums(image);
}

function vhdFooter(type: 'fixed' | 'dynamic', virtualBytes: number, creator: string): Buffer {
  const footer = write(Buffer.alloc(512), [
    [0, 'bytes', 'conectix'],
    [8, 'u32be', 2],
    [12, 'u32be', 0x10000],
    [16, 'u64be', type === 'fixed' ? 0xffff_ffff_ffff_ffffn : DYNAMIC_HEADER],
    [28, 'bytes', creator],
    [40, 'u64be', virtualBytes],
    [48, 'u64be', virtualBytes],
    [56, 'u16be', 100],
    [58, 'u8', 4],
    [59, 'u8', 17],
    [60, 'u32be', type === 'fixed' ? 2 : 3],
  ]);
  return write(footer, [[64, 'u32be', checksum(footer, 64)]]);
}

/** Makes the checksums right again after a patch: the mutation under test is then all that is wrong. */
export function withVhdChecksums(image: Buffer): Buffer {
  const tail = image.length - 512;
  const starts = [0, tail].filter((start) => image.toString('latin1', start, start + 8) === 'conectix');
  for (const start of starts) write(image, [[start + 64, 'u32be', checksum(image.subarray(start, start + 512), 64)]]);
  if (image.toString('latin1', DYNAMIC_HEADER, DYNAMIC_HEADER + 8) !== 'cxsparse') return image;
  return write(image, [
    [DYNAMIC_HEADER + 36, 'u32be', checksum(image.subarray(DYNAMIC_HEADER, DYNAMIC_HEADER + 1024), 36)],
  ]);
}

function checksum(bytes: Buffer, at: number): number {
  let sum = 0;
  for (const [index, byte] of bytes.entries()) if (index < at || index >= at + 4) sum += byte;
  return ~sum >>> 0;
}
