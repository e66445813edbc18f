import { open } from 'node:fs/promises';
import { KiB, SECTOR_BYTES } from '../../workflows/contract/bytes';
import { Failure } from '../../workflows/contract/failures';
import type { ImageId } from '../../workflows/contract/ids';
import { supportedDiskFormats, type CacheKey, type SupportedDiskFormat } from '../../workflows/contract/image';
import type { VolumeBackend, WriteTarget } from '../backends/backend';
import type { HostDependencies } from '../dependencies';
import { parseVhdFooter, VHD_FOOTER_BYTES } from '../image/formats/vhd-footer';
import { inspect, inspectWrittenRaw, refusalFailure } from '../image/inspect';
import { getImageInfo, type QemuFormat, type QemuImage } from '../image/qemu-img';

/** Guest bytes that are inspected after they were written. */
const WRITTEN_HEAD_BYTES = 64 * KiB;

export interface GuestBytes {
  imageId: ImageId;
  cacheKey: CacheKey;
  /** The complete, verified file in the host's scratch. */
  path: string;
}

/** @returns the guest-visible size, as the image's own bytes say. @throws ImageRefused, ImageUnsupported (final). */
export async function inspectImageFile(
  deps: HostDependencies,
  { imageId, cacheKey, path }: GuestBytes,
): Promise<number> {
  await using file = await open(path, 'r');
  const { size: sizeBytes } = await file.stat();
  const source = { imageId, diskFormat: cacheKey.diskFormat, sizeBytes, bytesVerified: true };
  return await inspectGuestBytes(deps, source, async (offset, lengthBytes) => {
    const buffer = Buffer.alloc(lengthBytes);
    const { bytesRead } = await file.read(buffer, 0, lengthBytes, offset);
    return buffer.subarray(0, bytesRead);
  });
}

interface InspectedBytes {
  imageId: ImageId;
  diskFormat: string;
  sizeBytes: number;
  /** Whether they have the hash of the image's record. */
  bytesVerified: boolean;
}

/** The same of bytes that are anywhere. @param read answers with fewer bytes only at the end. */
export async function inspectGuestBytes(
  deps: HostDependencies,
  { imageId, diskFormat: declaredFormat, sizeBytes, bytesVerified }: InspectedBytes,
  read: (offset: number, lengthBytes: number) => Promise<Buffer>,
): Promise<number> {
  const verdict = await inspect({ declaredFormat, sizeBytes, policy: deps.policy, read });
  if (verdict.kind === 'refused') throw refusalFailure(verdict, imageId, { bytesVerified });
  return verdict.virtualSizeBytes;
}

/**
 * qemu-img's names of Glance's formats. A CD is read as the sectors it is. Sources: Glance's disk formats, QEMU's block
 * drivers.
 */
const qemuFormats: Record<SupportedDiskFormat, QemuFormat> = {
  raw: 'raw',
  iso: 'raw',
  qcow2: 'qcow2',
  vmdk: 'vmdk',
  vhd: 'vpc',
  vhdx: 'vhdx',
  vdi: 'vdi',
};

/** How qemu-img opens the image. */
export async function findSource({ path, cacheKey: { diskFormat } }: GuestBytes): Promise<QemuImage> {
  const format = supportedDiskFormats.find((supported) => supported === diskFormat);
  if (format === undefined) throw new Error(`no image of format ${diskFormat} is admitted`);
  const sizeByFooter = format === 'vhd' && (await hasFooterSize(path));
  return { path, format: qemuFormats[format], sizeByFooter };
}

async function hasFooterSize(path: string): Promise<boolean> {
  await using file = await open(path, 'r');
  const offset = (await file.stat()).size - VHD_FOOTER_BYTES;
  const { buffer } = await file.read(Buffer.alloc(VHD_FOOTER_BYTES), 0, VHD_FOOTER_BYTES, Math.max(offset, 0));
  return parseVhdFooter(buffer, offset).isSized;
}

/** `qemu-img` must see what our own inspection saw. @throws ImageRefused (final), ToolFailed (retried). */
export async function checkToolAgrees(deps: HostDependencies, image: GuestBytes, virtualBytes: number): Promise<void> {
  const { imageId } = image;
  const info = await getImageInfo(await findSource(image), { guard: deps.toolGuard });
  const refuse = (found: string, allowed: string) =>
    new Failure('ImageRefused', { imageId, rule: 'tool-disagrees', found, allowed, bytesVerified: true });
  // A raw file that is no whole number of sectors is read as if zeros followed.
  if (Math.abs(info.virtualBytes - virtualBytes) >= SECTOR_BYTES)
    throw refuse(`qemu-img sees ${info.virtualBytes} bytes`, `${virtualBytes} bytes, as inspected`);
  if (info.backingFile !== undefined || info.dataFile !== undefined)
    throw refuse('qemu-img sees another file behind the image', 'one file');
  if (info.corrupt) throw refuse('an image that is marked corrupt', 'a sound image');
}

/** The first bytes that were written must not look like another format. @throws ImageRefused (final). */
export async function checkWritten(
  deps: HostDependencies,
  imageId: ImageId,
  { backend, target, kind, name }: WrittenTarget,
): Promise<void> {
  const { attempt, path } = target;
  const head =
    path === undefined
      ? await backend.readTarget?.({ kind, name, attempt }, WRITTEN_HEAD_BYTES)
      : await readFileHead(path);
  if (head === undefined) throw new Error(`backend ${backend.name} cannot read what was written`);
  const verdict = inspectWrittenRaw(head, { declaredFormat: 'raw', policy: deps.policy });
  if (verdict.kind === 'refused') throw refusalFailure(verdict, imageId);
}

interface WrittenTarget {
  backend: VolumeBackend;
  target: WriteTarget;
  kind: 'image-volume' | 'volume';
  name: string;
}

async function readFileHead(path: string): Promise<Buffer> {
  await using file = await open(path, 'r');
  const { buffer, bytesRead } = await file.read(Buffer.alloc(WRITTEN_HEAD_BYTES), 0, WRITTEN_HEAD_BYTES, 0);
  return buffer.subarray(0, bytesRead);
}
