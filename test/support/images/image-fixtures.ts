import { inspect, type ImageVerdict } from '../../../activities/image/inspect';
import { defaultImagePolicy, type ImageFormat, type ImagePolicy } from '../../../activities/image/policy';
import { gptDisk, hybridIso, isoImage, luksPartitionDisk, mbrDisk, rawDisk, udfImage } from './disk';
import type { Mutant } from './mutations';
import { qcow2Image } from './qcow2';
import { vdiImage } from './vdi';
import { vhdImage, withVhdChecksums } from './vhd';
import { vhdxImage, withVhdxChecksums } from './vhdx';
import { vmdkImage } from './vmdk';

export * from './disk';
export * from './fields';
export * from './mutations';
export * from './qcow2';
export * from './vdi';
export * from './vhd';
export * from './vhdx';
export * from './vmdk';

/** One well-formed image of every kind that is let through, small enough to keep in memory. */
export const wellFormedImages: { name: string; format: ImageFormat; build: () => Buffer }[] = [
  { name: 'raw without a partition table', format: 'raw', build: () => rawDisk() },
  { name: 'raw with an MBR', format: 'raw', build: () => mbrDisk() },
  { name: 'raw with a GPT', format: 'raw', build: () => gptDisk() },
  { name: 'raw with a LUKS partition', format: 'raw', build: luksPartitionDisk },
  { name: 'qcow2 version 2', format: 'qcow2', build: () => qcow2Image({ version: 2 }) },
  { name: 'qcow2 version 3', format: 'qcow2', build: () => qcow2Image() },
  { name: 'qcow2 with extended L2 entries', format: 'qcow2', build: () => qcow2Image({ extendedL2: true }) },
  { name: 'qcow2 with a snapshot', format: 'qcow2', build: () => qcow2Image({ snapshots: [{}] }) },
  { name: 'vmdk monolithicSparse', format: 'vmdk', build: () => vmdkImage() },
  { name: 'vmdk streamOptimized', format: 'vmdk', build: () => vmdkImage({ stream: true }) },
  {
    name: 'vmdk streamOptimized with a footer',
    format: 'vmdk',
    build: () => vmdkImage({ stream: true, footer: true }),
  },
  { name: 'vhd dynamic', format: 'vhd', build: () => vhdImage() },
  { name: 'vhd fixed', format: 'vhd', build: () => vhdImage({ type: 'fixed', virtualBytes: 4 * 1024 * 1024 }) },
  { name: 'vhdx', format: 'vhdx', build: () => vhdxImage() },
  { name: 'vdi', format: 'vdi', build: () => vdiImage({ map: [0, undefined, 1] }) },
  { name: 'iso', format: 'iso', build: () => isoImage() },
  { name: 'hybrid iso', format: 'iso', build: hybridIso },
  { name: 'udf', format: 'iso', build: udfImage },
];

/** Inspects `image` as a file of its own. */
export async function inspectBytes(
  image: Buffer,
  declaredFormat: string,
  policy: Partial<ImagePolicy> = {},
): Promise<ImageVerdict> {
  return inspect({
    declaredFormat,
    sizeBytes: image.length,
    policy: { ...defaultImagePolicy, ...policy },
    read: (offset, lengthBytes) => Promise.resolve(image.subarray(offset, offset + lengthBytes)),
  });
}

/** @returns the image with its checksums right, in the formats that have some. */
export function repairChecksums({ format, image }: Mutant): Buffer {
  if (format === 'vhd') return withVhdChecksums(image);
  return format === 'vhdx' ? withVhdxChecksums(image) : image;
}
