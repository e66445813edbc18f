import { write, type Field } from './fields';

const KiB = 1024;
const MiB = 1024 * KiB;
const HEADERS = [64 * KiB, 128 * KiB];
const REGION_TABLES = [192 * KiB, 256 * KiB];
export const VHDX_LOG = MiB;
export const VHDX_METADATA = 2 * MiB;
export const VHDX_BAT = 3 * MiB;

/** Items of the metadata region: GUID as it stands in the file, offset in the region, value. */
export interface VhdxItem {
  guid: string;
  offset: number;
  value: Buffer;
  flags?: number;
}

export interface VhdxOptions {
  virtualBytes?: number;
  blockBytes?: number;
  parameterFlags?: number;
  logicalSectorBytes?: number;
  /** BAT entries. */
  bat?: bigint[];
  extraItems?: VhdxItem[];
  batBytes?: number;
  fileBytes?: number;
}

const u32 = (value: number) => write(Buffer.alloc(4), [[0, 'u32le', value]]);
const u64 = (value: number) => write(Buffer.alloc(8), [[0, 'u64le', value]]);

/** A well-formed VHDX: two headers, two region tables, an empty log, metadata and BAT regions. */
export function vhdxImage(options: VhdxOptions = {}): Buffer {
  const {
    virtualBytes = 64 * MiB,
    blockBytes = 8 * MiB,
    parameterFlags = 0,
    logicalSectorBytes = 512,
    bat = [],
    extraItems = [],
    batBytes = MiB,
  } = options;
  const image = Buffer.alloc(options.fileBytes ?? VHDX_BAT + batBytes);
  write(image, [[0, 'bytes', 'vhdxfile']]);
  for (const [index, at] of HEADERS.entries()) {
    write(image, [[at, 'bytes', 'head'], [at + 8, 'u64le', index + 1], [at + 66, 'u16le', 1], [at + 68, 'u32le', MiB], [at + 72, 'u64le', VHDX_LOG]]); // prettier-ignore
  }
  for (const at of REGION_TABLES) {
    write(image, [[at, 'bytes', 'regi'], [at + 8, 'u32le', 2], ...region(at + 16, { guid: '6677c22d23f600429d64115e9bfd4a08', offset: VHDX_BAT, length: batBytes })]); // prettier-ignore
    write(image, region(at + 48, { guid: '06a27c8b90479a4bb8fe575f050f886e', offset: VHDX_METADATA, length: MiB }));
  }
  writeItems(image, [
    {
      guid: '3767a1ca36fa434db3b633f0aa44e76b',
      offset: 64 * KiB,
      value: Buffer.concat([u32(blockBytes), u32(parameterFlags)]),
    },
    { guid: '2442a52f1bcd7648b2115dbed83bf4b8', offset: 64 * KiB + 8, value: u64(virtualBytes) },
    { guid: 'ab12cabee6b2234593efc309e000c746', offset: 64 * KiB + 16, value: Buffer.alloc(16, 7) },
    { guid: '1dbf41816fa90947ba47f233a8faab5f', offset: 64 * KiB + 32, value: u32(logicalSectorBytes) },
    { guid: 'c748a3cd5d4471449cc9e9885251c556', offset: 64 * KiB + 36, value: u32(4096) },
    ...extraItems,
  ]);
  for (const [index, entry] of bat.entries()) write(image, [[VHDX_BAT + index * 8, 'u64le', entry]]);
  return withVhdxChecksums(image);
}

function region(at: number, { guid, offset, length }: { guid: string; offset: number; length: number }): Field[] {
  return [[at, 'bytes', Buffer.from(guid, 'hex')], [at + 16, 'u64le', offset], [at + 24, 'u32le', length], [at + 28, 'u32le', 1]]; // prettier-ignore
}

function writeItems(image: Buffer, items: VhdxItem[]): void {
  write(image, [[VHDX_METADATA, 'bytes', 'metadata'], [VHDX_METADATA + 10, 'u16le', items.length]]); // prettier-ignore
  for (const [index, { guid, offset, value, flags = 4 }] of items.entries()) {
    const at = VHDX_METADATA + 32 + index * 32;
    write(image, [[at, 'bytes', Buffer.from(guid, 'hex')], [at + 16, 'u32le', offset], [at + 20, 'u32le', value.length], [at + 24, 'u32le', flags], [VHDX_METADATA + offset, 'bytes', value]]); // prettier-ignore
  }
}

/** Makes the checksums right again after a patch. */
export function withVhdxChecksums(image: Buffer): Buffer {
  for (const at of HEADERS) write(image, [[at + 4, 'u32le', crc32c(image.subarray(at, at + 4 * KiB))]]);
  for (const at of REGION_TABLES) write(image, [[at + 4, 'u32le', crc32c(image.subarray(at, at + 64 * KiB))]]);
  return image;
}

/** CRC-32C bit by bit, on purpose not the code under test; bytes 4 to 8 are the checksum's own place. */
function crc32c(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const [index, byte] of bytes.entries()) {
    crc ^= index >= 4 && index < 8 ? 0 : byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0x82f63b78 & -(crc & 1));
  }
  return ~crc >>> 0;
}
