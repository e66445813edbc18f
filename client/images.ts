import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { request } from 'undici';
import { z } from 'zod';
import { createGlanceClient, type GlanceClientOptions } from '../activities/glance/client';
import type { CreateImageRequest, ImageService } from '../activities/glance/image-service';
import type { Identity } from '../activities/keystone/identity';
import { MiB } from '../workflows/contract/bytes';
import { isFailure } from '../workflows/contract/failures';
import type { Image } from '../workflows/contract/image';
import { asClientErrors, failureError, toClientError } from './errors';
import { errorMessage } from '../lib/error-message';

/**
 * The image service as a person at a command line needs it. Errors are `ImageVolumeCacheError`s: ImageNotFound,
 * InvalidRequest, ImageServiceUnavailable.
 */
export interface ImageCatalog extends Pick<
  ImageService,
  'endpoint' | 'getImage' | 'listImages' | 'createImage' | 'uploadImage' | 'deleteImage' | 'close'
> {
  /** Creates an image from a file and fills it; a record whose bytes did not arrive whole is removed. */
  upload(path: string, options?: UploadOptions): Promise<Image>;
  /** Whether the service says where it keeps an image's bytes. */
  showsLocations(imageId: string): Promise<boolean>;
  /** Whether it says with whom an image is shared. */
  showsMembers(imageId: string): Promise<boolean>;
  /** Whether it gives an active image's bytes; only the first ones are read. */
  givesData(image: Pick<Image, 'id' | 'sizeBytes'>): Promise<boolean>;
  /** Downloads of an image since the local image service started; null where the service does not count them. */
  countDownloads(imageId: string): Promise<number | null>;
}

export interface UploadOptions extends Partial<CreateImageRequest> {
  onProgress?: (progress: { bytesDone: number; bytesTotal: number }) => void;
  signal?: AbortSignal;
}

/** Nothing is sent before the first call. @param identity whose tokens are sent; it is not closed. @throws ImageVolumeCacheError InvalidRequest (endpoint). */
export function connectImages(endpoint: string, identity?: Identity): ImageCatalog {
  const glance = openGlance({ endpoint, getToken: identity?.getToken, tls: identity?.tls });
  const catalog: Omit<ImageCatalog, 'upload' | 'countDownloads'> = {
    endpoint: glance.endpoint,
    getImage: (imageId, signal) => asClientErrors(() => glance.getImage(imageId, signal)),
    listImages: (query, signal) => asClientErrors(() => glance.listImages(query, signal)),
    createImage: (wanted) => asClientErrors(() => glance.createImage(wanted)),
    uploadImage: (upload) => asClientErrors(() => glance.uploadImage(upload)),
    deleteImage: (imageId) => asClientErrors(() => glance.deleteImage(imageId)),
    showsLocations: (imageId) => asClientErrors(async () => (await glance.listLocations(imageId)).length > 0),
    showsMembers: (imageId) => isPermitted(() => glance.listMembers(imageId)),
    givesData: ({ id: imageId, sizeBytes }) =>
      isPermitted(async () => {
        const { body } = await glance.openDownload({ imageId, offsetBytes: 0, expectedBytes: sizeBytes ?? 0 });
        for await (const _ of body) break;
      }),
    close: () => glance.close(),
  };
  return {
    ...catalog,
    upload: (path, options) => uploadFile(catalog, path, options),
    async countDownloads(imageId) {
      const counters = await readCounters(glance.endpoint);
      return counters === undefined ? null : (counters.images[imageId]?.downloads ?? 0);
    },
  };
}

async function isPermitted(call: () => Promise<unknown>): Promise<boolean> {
  try {
    await call();
    return true;
  } catch (error) {
    if (isFailure(error, 'ImageNotFound') || isFailure(error, 'ImageNotActive')) return false;
    throw toClientError(error);
  }
}

function openGlance(options: GlanceClientOptions): ImageService {
  try {
    return createGlanceClient(options);
  } catch (error) {
    throw toClientError(error);
  }
}

async function uploadFile(
  catalog: Pick<ImageCatalog, 'getImage' | 'createImage' | 'uploadImage' | 'deleteImage'>,
  path: string,
  { onProgress = () => undefined, signal, ...given }: UploadOptions = {},
): Promise<Image> {
  const { size: bytesTotal } = await stat(path);
  const name = basename(path, extname(path));
  const { id } = await catalog.createImage({
    name,
    containerFormat: 'bare',
    diskFormat: await detectDiskFormat(path),
    ...given,
  });
  try {
    const body = counted(createReadStream(path, { highWaterMark: MiB }), (bytesDone) =>
      onProgress({ bytesDone, bytesTotal }),
    );
    await catalog.uploadImage({ imageId: id, body, sizeBytes: bytesTotal, signal });
  } catch (error) {
    // The first error is the one to tell.
    await catalog.deleteImage(id).catch(() => undefined);
    throw error;
  }
  return catalog.getImage(id);
}

/** `GET /admin/counters`, which only the local image service has; an image that nobody has asked for is not in it. */
const countersSchema = z.object({ images: z.record(z.string(), z.object({ downloads: z.int().nonnegative() })) });
const COUNTERS_TIMEOUT_MS = 30_000;

async function readCounters(endpoint: string): Promise<z.output<typeof countersSchema> | undefined> {
  try {
    const { statusCode, body } = await request(`${endpoint}/admin/counters`, {
      headersTimeout: COUNTERS_TIMEOUT_MS,
      bodyTimeout: COUNTERS_TIMEOUT_MS,
      // The connection would be kept beyond `close`.
      reset: true,
    });
    const answer: unknown = statusCode === 200 ? await body.json() : await body.dump();
    return statusCode === 200 ? countersSchema.parse(answer) : undefined;
  } catch (error) {
    const cause = errorMessage(error);
    throw failureError('ImageServiceUnavailable', { service: endpoint, cause });
  }
}

/**
 * By the file's first bytes; anything unknown is raw. Only a default for the record: a worker inspects its download.
 */
export async function detectDiskFormat(path: string): Promise<'qcow2' | 'raw'> {
  await using file = await open(path, 'r');
  const { buffer, bytesRead } = await file.read(Buffer.alloc(QCOW2_MAGIC.length), 0, QCOW2_MAGIC.length, 0);
  return bytesRead === QCOW2_MAGIC.length && buffer.equals(QCOW2_MAGIC) ? 'qcow2' : 'raw';
}

const QCOW2_MAGIC = Buffer.from('QFI\xfb', 'latin1');

async function* counted(body: AsyncIterable<Buffer>, onBytes: (bytesDone: number) => void): AsyncGenerator<Buffer> {
  let bytesDone = 0;
  for await (const chunk of body) {
    yield chunk;
    bytesDone += chunk.length;
    onBytes(bytesDone);
  }
}
