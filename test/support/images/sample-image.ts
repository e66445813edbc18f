import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { CreateImageRequest, ImageService } from '../../../activities/glance/image-service';
import { MiB } from '../../../workflows/contract/bytes';
import type { Image } from '../../../workflows/contract/image';

const run = promisify(execFile);

export interface SampleImage {
  /** The uploaded file. */
  path: string;
  /** The same guest's bytes as a raw file. */
  rawPath: string;
  diskFormat: 'raw' | 'qcow2';
  virtualBytes: number;
}

export interface SampleOptions {
  directory: string;
  name: string;
  diskFormat?: 'raw' | 'qcow2';
  virtualBytes?: number;
  /** Bytes that are not zero, spread over the disk. */
  dataBytes?: number;
  /** Of a qcow2's clusters, whose data is then such as can be compressed. */
  compression?: 'zlib' | 'zstd';
  /** Whether its clusters have parts, which `qemu-img` alone follows: such a qcow2 is converted. */
  subclusters?: boolean;
}

/** A disk of a size nobody rounds, half of it holes; every one is different. */
export async function makeSampleImage({
  directory,
  name,
  diskFormat = 'qcow2',
  virtualBytes = 16 * MiB,
  dataBytes = virtualBytes / 2,
  compression,
  subclusters = false,
}: SampleOptions): Promise<SampleImage> {
  const rawPath = join(directory, `${name}.raw`);
  const file = await open(rawPath, 'w');
  await file.truncate(virtualBytes);
  const pieces = Math.ceil(dataBytes / MiB);
  for (let piece = 0; piece < pieces; piece += 1) {
    const lengthBytes = Math.min(MiB, dataBytes - piece * MiB);
    // The very first sector stays clear of what looks like another format.
    const offset = Math.floor((piece * (virtualBytes - lengthBytes)) / Math.max(1, pieces - 1) / 4096) * 4096;
    const data =
      compression === undefined ? randomBytes(lengthBytes) : Buffer.from(randomBytes(lengthBytes / 2).toString('hex'));
    await file.write(data, 0, lengthBytes, offset);
  }
  await file.write(Buffer.alloc(4096), 0, 4096, 0);
  await file.close();
  if (diskFormat === 'raw') return { path: rawPath, rawPath, diskFormat, virtualBytes };
  const path = join(directory, `${name}.qcow2`);
  const compressed = compression === undefined ? [] : ['-c', '-W', '-m', '16', '-o', `compression_type=${compression}`];
  const features = subclusters ? ['-o', 'extended_l2=on'] : [];
  await run('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', ...compressed, ...features, rawPath, path]);
  return { path, rawPath, diskFormat, virtualBytes };
}

export async function uploadSample(
  images: ImageService,
  sample: SampleImage,
  more: Partial<CreateImageRequest> = {},
): Promise<Image> {
  const { id } = await images.createImage({
    name: 'sample',
    diskFormat: sample.diskFormat,
    containerFormat: 'bare',
    ...more,
  });
  const { size } = await stat(sample.path);
  await images.uploadImage({ imageId: id, sizeBytes: size, body: createReadStream(sample.path) });
  return await images.getImage(id);
}
