import { write } from './fields';

const MiB = 1024 * 1024;

export interface VdiOptions {
  virtualBytes?: number;
  type?: number;
  /** Block numbers; undefined for one without data. */
  map?: (number | undefined)[];
}

/** A well-formed VDI 1.1. */
export function vdiImage({ virtualBytes = 8 * MiB, type = 1, map = [] }: VdiOptions = {}): Buffer {
  const blocks = Math.ceil(virtualBytes / MiB);
  const dataOffset = 512 + Math.ceil((blocks * 4) / 512) * 512;
  const allocated = map.filter((block) => block !== undefined).length;
  const image = Buffer.alloc(dataOffset + allocated * MiB);
  write(image, [
    [0, 'bytes', '<<< QEMU VM Virtual Disk Image >>>\n'],
    [0x40, 'u32le', 0xbeda107f],
    [0x44, 'u32le', 0x10001],
    [0x48, 'u32le', 0x180],
    [0x4c, 'u32le', type],
    [0x154, 'u32le', 512],
    [0x158, 'u32le', dataOffset],
    [0x168, 'u32le', 512],
    [0x170, 'u64le', virtualBytes],
    [0x178, 'u32le', MiB],
    [0x180, 'u32le', blocks],
    [0x184, 'u32le', allocated],
    [0x188, 'bytes', Buffer.alloc(32, 9)],
  ]);
  for (let block = 0; block < blocks; block++) write(image, [[512 + block * 4, 'u32le', map[block] ?? 0xffffffff]]);
  return image;
}
