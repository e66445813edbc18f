import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import type {
  CreateImageRequest,
  ImagePage,
  ImageService,
  ListImagesQuery,
  UploadImageRequest,
} from '../activities/glance/image-service';
import { MiB } from '../workflows/contract/bytes';
import type { Image } from '../workflows/contract/image';
import { connectImageApi, type ImageApi } from './image-api';
import { countersSchema, imagePageSchema, imageSchema } from './image-schema';

/** The image service as a person at a command line needs it. Errors are `ImageVolumeCacheError`s: ImageNotFound, InvalidRequest, ImageServiceUnavailable. */
export interface ImageCatalog extends Pick<
  ImageService,
  'endpoint' | 'getImage' | 'listImages' | 'createImage' | 'uploadImage' | 'deleteImage' | 'close'
> {
  /** Creates an image from a file and fills it; what did not arrive whole is taken away again. */
  upload(path: string, options?: UploadOptions): Promise<Image>;
  /** Downloads of an image since the local image service started; null where the service does not count them. */
  countDownloads(imageId: string): Promise<number | null>;
}

export interface UploadOptions extends Partial<CreateImageRequest> {
  onProgress?: (progress: { bytesDone: number; bytesTotal: number }) => void;
  signal?: AbortSignal;
}

/** Nothing is sent before the first call. @throws ImageVolumeCacheError InvalidRequest (endpoint). */
export function connectImages(endpoint: string): ImageCatalog {
  const api = connectImageApi(endpoint);
  const getImage = async (imageId: string, signal?: AbortSignal): Promise<Image> =>
    api.read(imageSchema, { method: 'GET', path: imagePath(imageId), imageId, signal });
  const createImage = async (request: CreateImageRequest): Promise<Image> =>
    api.read(imageSchema, {
      method: 'POST',
      path: '/v2/images',
      imageId: request.id,
      body: JSON.stringify(recordOf(request)),
      contentType: 'application/json',
    });
  const uploadImage = async ({ imageId, body, sizeBytes, signal }: UploadImageRequest): Promise<void> => {
    const contentType = 'application/octet-stream';
    await api.send({
      method: 'PUT',
      path: `${imagePath(imageId)}/file`,
      imageId,
      body,
      sizeBytes,
      contentType,
      signal,
    });
  };
  const deleteImage = async (imageId: string): Promise<void> =>
    api.send({ method: 'DELETE', path: imagePath(imageId), imageId });

  return {
    endpoint: api.endpoint,
    getImage,
    createImage,
    uploadImage,
    deleteImage,
    listImages: (query, signal) => listImages(api, query, signal),
    async upload(path, { onProgress = () => undefined, signal, ...given } = {}) {
      const { size: bytesTotal } = await stat(path);
      const name = basename(path, extname(path));
      const { id } = await createImage({
        name,
        containerFormat: 'bare',
        diskFormat: await detectDiskFormat(path),
        ...given,
      });
      try {
        const body = counted(createReadStream(path, { highWaterMark: MiB }), (bytesDone) =>
          onProgress({ bytesDone, bytesTotal }),
        );
        await uploadImage({ imageId: id, body, sizeBytes: bytesTotal, signal });
      } catch (error) {
        // The first error is the one to tell.
        await deleteImage(id).catch(() => undefined);
        throw error;
      }
      return getImage(id);
    },
    async countDownloads(imageId) {
      const answer = await api.find(countersSchema, { method: 'GET', path: '/admin/counters' });
      return answer === undefined ? null : (answer.images[imageId]?.downloads ?? 0);
    },
    close: () => api.close(),
  };
}

/** What the file's first bytes say it is; anything unknown is raw. Only a default for the record: a worker inspects what it downloads. */
export async function detectDiskFormat(path: string): Promise<'qcow2' | 'raw'> {
  const file = await open(path, 'r');
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(QCOW2_MAGIC.length), 0, QCOW2_MAGIC.length, 0);
    return bytesRead === QCOW2_MAGIC.length && buffer.equals(QCOW2_MAGIC) ? 'qcow2' : 'raw';
  } finally {
    await file.close();
  }
}

const QCOW2_MAGIC = Buffer.from('QFI\xfb', 'latin1');

async function listImages(api: ImageApi, query: ListImagesQuery = {}, signal?: AbortSignal): Promise<ImagePage> {
  const { tags = [], properties = {}, ...fields } = query;
  const parameters = new URLSearchParams({ ...properties, sort: 'created_at:desc,id:desc' });
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) parameters.set(name, String(value));
  for (const tag of tags) parameters.append('tag', tag);
  return api.read(imagePageSchema, {
    method: 'GET',
    path: `/v2/images?${parameters.toString()}`,
    imageId: query.marker,
    signal,
  });
}

function imagePath(imageId: string): string {
  return `/v2/images/${encodeURIComponent(imageId)}`;
}

function recordOf(request: CreateImageRequest): Record<string, unknown> {
  const { diskFormat, containerFormat, minDiskGiB, minRamMiB, properties, ...fields } = request;
  return {
    ...properties,
    ...fields,
    disk_format: diskFormat,
    container_format: containerFormat,
    min_disk: minDiskGiB,
    min_ram: minRamMiB,
  };
}

async function* counted(body: AsyncIterable<Buffer>, onBytes: (bytesDone: number) => void): AsyncGenerator<Buffer> {
  let bytesDone = 0;
  for await (const chunk of body) {
    yield chunk;
    bytesDone += chunk.length;
    onBytes(bytesDone);
  }
}
