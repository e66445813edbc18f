import type { z } from 'zod';
import { Failure } from '../../workflows/contract/failures';
import { downloadInto } from './direct-download';
import { openDownload } from './download-request';
import { failureOfStatus } from './errors';
import type {
  AddedLocation,
  CreateImageRequest,
  ImageService,
  ListImagesQuery,
  NewLocation,
  UploadImageRequest,
} from './image-service';
import {
  imagePageSchema,
  imageSchema,
  importSchema,
  locationsSchema,
  membersSchema,
  serviceLocationsSchema,
} from './schema';
import { createTransport, readErrorText, type HttpRequest, type Transport, type TransportOptions } from './transport';
import { pause } from '../../lib/abort';
import { describeFirstIssue } from '../../lib/issue-words';

export type GlanceClientOptions = TransportOptions;

const MOST_READING_MS = 60 * 60_000;
const READING_POLL_MS = 500;

/** The OpenStack Image API v2 at `endpoint`; connections are made on first use and kept until `close`. @throws Failure InvalidRequest (endpoint). */
export function createGlanceClient(options: GlanceClientOptions): ImageService {
  const transport = createTransport(options);
  const act = (imageId: string, request: { method: HttpRequest['method']; below: string }) =>
    call(transport, { method: request.method, path: `${imagePath(imageId)}${request.below}`, imageId });

  const replace = async (imageId: string, path: string, value: string | boolean): Promise<void> => {
    const body = JSON.stringify([{ op: 'replace', path, value }]);
    await call(transport, { method: 'PATCH', path: imagePath(imageId), imageId, headers: jsonPatch, body });
  };

  return {
    endpoint: transport.service,

    async getImage(imageId, signal) {
      const text = await call(transport, { method: 'GET', path: imagePath(imageId), imageId, signal });
      const image = parseAnswer(transport, imageSchema, text);
      if (image.id.toLowerCase() !== imageId.toLowerCase())
        throw badAnswer(transport, `it answers with image ${image.id} when asked for ${imageId}`);
      return image;
    },

    async listLocations(imageId, signal) {
      const shown = await readLocations(transport, { imageId, signal });
      return shown.length > 0 ? shown : await listLocationsForServices(transport, { imageId, signal });
    },

    addLocation: (location) => addLocation(transport, location),

    async listMembers(imageId, signal) {
      const text = await call(transport, { method: 'GET', path: `${imagePath(imageId)}/members`, imageId, signal });
      return parseAnswer(transport, membersSchema, text);
    },

    async listImages(query = {}, signal) {
      const text = await call(transport, {
        method: 'GET',
        path: `/images${queryOf(query)}`,
        imageId: query.marker ?? '',
        signal,
      });
      return parseAnswer(transport, imagePageSchema, text);
    },

    async openDownload(request) {
      imagePath(request.imageId);
      return openDownload(transport, request);
    },

    async downloadInto(request, sink) {
      imagePath(request.imageId);
      return await downloadInto(transport, request, sink);
    },

    async createImage(request) {
      const body = JSON.stringify(recordOf(request));
      const text = await call(transport, {
        method: 'POST',
        path: '/images',
        imageId: request.id ?? '',
        body,
        headers: json,
      });
      return parseAnswer(transport, imageSchema, text);
    },

    uploadImage: (request) => uploadImage(transport, request),
    deleteImage: async (imageId) => void (await act(imageId, { method: 'DELETE', below: '' })),
    setVisibility: (imageId, visibility) => replace(imageId, '/visibility', visibility),
    setProtected: (imageId, isProtected) => replace(imageId, '/protected', isProtected),
    addMember: (imageId, projectId) =>
      unlessStatus(transport, 409, {
        method: 'POST',
        path: `${imagePath(imageId)}/members`,
        imageId,
        headers: json,
        body: JSON.stringify({ member: projectId }),
      }),
    removeMember: (imageId, projectId) =>
      unlessStatus(transport, 404, {
        method: 'DELETE',
        path: `${imagePath(imageId)}/members/${encodeURIComponent(projectId)}`,
        imageId,
      }),
    deactivate: async (imageId) => void (await act(imageId, { method: 'POST', below: '/actions/deactivate' })),
    reactivate: async (imageId) => void (await act(imageId, { method: 'POST', below: '/actions/reactivate' })),
    addTag: async (imageId, tag) =>
      void (await act(imageId, { method: 'PUT', below: `/tags/${encodeURIComponent(tag)}` })),
    close: () => transport.close(),
  };
}

const json = { 'content-type': 'application/json' };
const jsonPatch = { 'content-type': 'application/openstack-images-v2.1-json-patch' };

/** The id pattern of Glance's image schema: nothing else is an image, and nothing else may become part of a path. */
const imageIdPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

function imagePath(imageId: string): string {
  if (!imageIdPattern.test(imageId)) throw new Failure('ImageNotFound', { imageId });
  return `/images/${imageId}`;
}

interface Call extends HttpRequest {
  imageId: string;
  body?: string;
}

/** @returns the text of a 2xx answer. */
async function call(transport: Transport, { imageId, ...request }: Call): Promise<string> {
  const { status, text } = await transport.exchange(request);
  if (status >= 200 && status < 300) return text;
  throw failureOfStatus({ service: transport.service, method: request.method, status, text, imageId });
}

/** @param done what says that it was done before. */
async function unlessStatus(transport: Transport, done: number, { imageId, ...request }: Call) {
  const { status, text } = await transport.exchange(request);
  if (status === done || (status >= 200 && status < 300)) return;
  throw failureOfStatus({ service: transport.service, method: request.method, status, text, imageId });
}

async function uploadImage(
  transport: Transport,
  { imageId, body, sizeBytes, signal }: UploadImageRequest,
): Promise<void> {
  // Bytes that went to a 401 cannot be sent again: the token is proven first.
  if ((await transport.findToken(signal)) !== undefined)
    await call(transport, { method: 'GET', path: imagePath(imageId), imageId, signal });
  const headers = { 'content-type': 'application/octet-stream', 'content-length': sizeBytes?.toString() };
  const response = await transport.open({
    method: 'PUT',
    path: `${imagePath(imageId)}/file`,
    headers,
    body,
    headersMs: transport.limits.uploadAnswerMs,
    signal,
  });
  const text = await readErrorText(response);
  if (response.statusCode !== 204)
    throw failureOfStatus({ service: transport.service, method: 'PUT', status: response.statusCode, text, imageId });
}

async function readLocations(
  transport: Transport,
  { imageId, signal }: { imageId: string; signal?: AbortSignal },
): Promise<string[]> {
  const text = await call(transport, { method: 'GET', path: imagePath(imageId), imageId, signal });
  return parseAnswer(transport, locationsSchema, text);
}

/** Where records show no locations API 2.17 has a call for services; one that does not have it, or not for our account, has told all that it tells. */
async function listLocationsForServices(
  transport: Transport,
  { imageId, signal }: { imageId: string; signal?: AbortSignal },
): Promise<string[]> {
  const { status, text } = await transport.exchange({
    method: 'GET',
    path: `${imagePath(imageId)}/locations`,
    signal,
  });
  if ([403, 404, 405].includes(status)) return [];
  if (status !== 200) throw failureOfStatus({ service: transport.service, method: 'GET', status, text: '', imageId });
  return parseAnswer(transport, serviceLocationsSchema, text);
}

/** As clients before API 2.17 do it, which takes `show_multiple_locations`; then by the call that 2.17 has for services. Neither answer's text is told: it has the URL. */
async function addLocation(
  transport: Transport,
  { imageId, url, hashAlgorithm, hashValue, signal }: NewLocation,
): Promise<AddedLocation> {
  const location = { url, metadata: {}, validation_data: { os_hash_algo: hashAlgorithm, os_hash_value: hashValue } };
  const patched = await transport.exchange({
    method: 'PATCH',
    path: imagePath(imageId),
    headers: jsonPatch,
    body: JSON.stringify([{ op: 'add', path: '/locations/-', value: location }]),
    signal,
  });
  if (patched.status !== 403) {
    const answered = addedBy(transport, { imageId, method: 'PATCH', status: patched.status });
    // An earlier call of ours, whose answer was lost, may have been heard: then this one is a duplicate.
    const isShown = answered !== 'added' && (await readLocations(transport, { imageId, signal })).includes(url);
    return isShown ? 'added' : answered;
  }
  const { metadata: _, ...added } = location;
  const { status } = await transport.exchange({
    method: 'POST',
    path: `${imagePath(imageId)}/locations`,
    headers: json,
    body: JSON.stringify(added),
    signal,
  });
  if (status === 404 || status === 405) return 'refused';
  const answered = addedBy(transport, { imageId, method: 'POST', status });
  // 409: an earlier call of ours, whose answer was lost, may be at work.
  if (answered !== 'added' && status !== 409) return answered;
  const isRead = await untilRead(transport, { imageId, signal });
  if (status === 409) return isRead ? 'added' : 'refused';
  return isRead ? 'added' : 'unreadable';
}

/** API 2.17 answers before it has looked at what lies there: a task then reads and hashes it, and takes the location back where it could not. */
async function untilRead(
  transport: Transport,
  { imageId, signal }: { imageId: string; signal: AbortSignal },
): Promise<boolean> {
  const deadline = Date.now() + MOST_READING_MS;
  while (Date.now() < deadline) {
    const text = await call(transport, { method: 'GET', path: imagePath(imageId), imageId, signal });
    const { status, isAtWork } = parseAnswer(transport, importSchema, text);
    if (!isAtWork) return status === 'active';
    await pause(READING_POLL_MS, signal);
  }
  return false;
}

function addedBy(
  { service }: Transport,
  { imageId, method, status }: { imageId: string; method: string; status: number },
): AddedLocation {
  if (status >= 200 && status < 300) return 'added';
  // A store that may not open its own location answers 500.
  if (status === 400 || status === 500) return 'unreadable';
  if (status === 403 || status === 409) return 'refused';
  throw failureOfStatus({ service, method, status, text: '', imageId });
}

function recordOf(request: CreateImageRequest): Record<string, unknown> {
  const {
    id,
    name,
    owner,
    diskFormat,
    containerFormat,
    minDiskGiB,
    minRamMiB,
    visibility,
    isProtected,
    tags,
    properties,
  } = request;
  const fields = {
    id,
    name,
    owner,
    visibility,
    protected: isProtected,
    tags,
    disk_format: diskFormat,
    container_format: containerFormat,
    min_disk: minDiskGiB,
    min_ram: minRamMiB,
  };
  return { ...properties, ...fields };
}

/** Dates may have whole seconds only: ids then keep the order the same from page to page. */
const NEWEST_FIRST = 'created_at:desc,id:desc';

function queryOf(query: ListImagesQuery): string {
  const { tags = [], properties = {}, ...fields } = query;
  const parameters = new URLSearchParams({ ...properties, sort: NEWEST_FIRST });
  for (const [name, value] of Object.entries(fields)) if (value !== undefined) parameters.set(name, String(value));
  for (const tag of tags) parameters.append('tag', tag);
  return `?${parameters.toString()}`;
}

function parseAnswer<Schema extends z.ZodType>(transport: Transport, schema: Schema, text: string): z.output<Schema> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw badAnswer(transport, 'it answers with something that is no JSON');
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw badAnswer(transport, `its answer is no image: ${describeFirstIssue(parsed.error)}`);
}

function badAnswer({ service }: Transport, cause: string): Failure {
  return new Failure('ImageServiceUnavailable', { service, cause });
}
