import { write } from './fields';

const SECTOR = 512;
const GRAIN_SECTORS = 128;
const GD_AT_END = 0xffff_ffff_ffff_ffffn;
const PLAIN_FLAGS = 1;
const STREAM_FLAGS = 0x30001;

export interface VmdkOptions {
  stream?: boolean;
  capacitySectors?: number;
  /** Lines in place of the descriptor's own. */
  descriptor?: string;
  /** Whether the grain directory is told by a footer, as VMware's streams do. */
  footer?: boolean;
}

export function vmdkDescriptor({
  stream = false,
  capacitySectors = 131_072,
  extra = '',
  name = 'disk.vmdk',
} = {}): string {
  return [
    '# Disk DescriptorFile',
    'version=1',
    'CID=fffffffe',
    'parentCID=ffffffff',
    `createType="${stream ? 'streamOptimized' : 'monolithicSparse'}"`,
    '',
    '# Extent description',
    `RW ${capacitySectors} SPARSE "${name}"`,
    ...(extra === '' ? [] : [extra]),
    '# The Disk Data Base',
    'ddb.virtualHWVersion = "4"',
    'ddb.geometry.cylinders = "130"',
    '',
  ].join('\n');
}

/** A well-formed sparse extent without data: header, descriptor of 20 sectors, grain directory, empty grain tables, and a footer where asked. */
export function vmdkImage({
  stream = false,
  capacitySectors = 131_072,
  descriptor,
  footer = false,
}: VmdkOptions = {}): Buffer {
  const tables = Math.ceil(capacitySectors / (GRAIN_SECTORS * 512));
  const gdSector = 21;
  const firstTable = gdSector + Math.ceil((tables * 4) / SECTOR);
  const end = Math.max(GRAIN_SECTORS, firstTable + tables * 4);
  const image = Buffer.alloc((end + (footer ? 3 : 0)) * SECTOR);
  const header = (at: number, directory: number | bigint): void => {
    write(image, [
      [at, 'bytes', 'KDMV'],
      [at + 4, 'u32le', stream ? 3 : 1],
      [at + 8, 'u32le', stream ? STREAM_FLAGS : PLAIN_FLAGS],
      [at + 12, 'u64le', capacitySectors],
      [at + 20, 'u64le', GRAIN_SECTORS],
      [at + 28, 'u64le', 1],
      [at + 36, 'u64le', 20],
      [at + 44, 'u32le', 512],
      [at + 56, 'u64le', directory],
      [at + 64, 'u64le', GRAIN_SECTORS],
      [at + 73, 'bytes', '\n \r\n'],
      [at + 77, 'u16le', stream ? 1 : 0],
    ]);
  };
  header(0, footer ? GD_AT_END : gdSector);
  write(image, [[SECTOR, 'bytes', descriptor ?? vmdkDescriptor({ stream, capacitySectors })]]);
  for (let table = 0; table < tables; table++)
    write(image, [[gdSector * SECTOR + table * 4, 'u32le', firstTable + table * 4]]);
  if (footer) {
    write(image, [[end * SECTOR + 12, 'u32le', 3]]);
    header((end + 1) * SECTOR, gdSector);
  }
  return image;
}
