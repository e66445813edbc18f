import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { rm } from 'node:fs/promises';
import { demandJson, imageOf, mediaType, unsupported, type Exchange, type Handler, type Service } from './exchange';
import { strike } from './faults';
import { spoiledUpload } from './spoiled-upload';
import { HttpError, readBody, readJson, sendEmpty, sendJson } from './http';
import { listImages } from './list-images';
import { patchImage, PATCH_MEDIA_TYPE } from './patch-image';
import { receiveFile } from './receive-file';
import { parseNewImage, showImage } from './record';
import { addMember, editMember, removeMember, showMembers, showOneMember } from './member-routes';
import { serveFile } from './serve-file';
import { isDiskFull } from '../../../lib/errno';

/** The subset of the OpenStack Image API v2 that is there, and the service's own `/admin`. */
const routes: { path: RegExp; methods: Record<string, Handler> }[] = [
  { path: /^\/(versions)?$/, methods: { GET: showVersions } },
  { path: /^\/v2\/images$/, methods: { GET: showImages, POST: createImage } },
  { path: /^\/v2\/images\/([^/]+)$/, methods: { GET: showOne, PATCH: editImage, DELETE: deleteImage } },
  { path: /^\/v2\/images\/([^/]+)\/file$/, methods: { GET: download, PUT: upload } },
  { path: /^\/v2\/images\/([^/]+)\/actions\/(deactivate|reactivate)$/, methods: { POST: switchImage } },
  { path: /^\/v2\/images\/([^/]+)\/tags\/([^/]+)$/, methods: { PUT: addTag, DELETE: removeTag } },
  { path: /^\/v2\/images\/([^/]+)\/members$/, methods: { GET: showMembers, POST: addMember } },
  {
    path: /^\/v2\/images\/([^/]+)\/members\/([^/]+)$/,
    methods: { GET: showOneMember, PUT: editMember, DELETE: removeMember },
  },
  { path: /^\/admin\/counters$/, methods: { GET: showCounters } },
  { path: /^\/admin\/faults$/, methods: { POST: injectFault, DELETE: clearFaults } },
];

/** @throws HttpError 404, 405, and what the handlers throw. */
export async function route(
  service: Service,
  { request, response }: Pick<Exchange, 'request' | 'response'>,
): Promise<void> {
  const url = parseUrl(request);
  for (const { path, methods } of routes) {
    const match = path.exec(url.pathname);
    if (match === null) continue;
    const method = request.method ?? '';
    const handler = Object.hasOwn(methods, method) ? methods[method] : undefined;
    if (handler === undefined)
      throw new HttpError(405, `The method ${method} is not allowed for this resource.`, {
        allow: Object.keys(methods).join(', '),
      });
    return handler(service, { request, response, url, captured: match.slice(1) });
  }
  throw new HttpError(404, 'The resource could not be found.');
}

function parseUrl({ url }: IncomingMessage): URL {
  const base = 'http://localhost';
  if (url === undefined || !url.startsWith('/') || !URL.canParse(url, base))
    throw new HttpError(400, 'Malformed request target.');
  return new URL(url, base);
}

function showVersions(_service: Service, { request, response, url }: Exchange): void {
  const href = `http://${request.headers.host ?? 'localhost'}/v2/`;
  const versions = [{ id: 'v2.15', status: 'CURRENT', links: [{ rel: 'self', href }] }];
  sendJson(response, { status: url.pathname === '/' ? 300 : 200, body: { versions } });
}

function showImages({ catalog }: Service, { response, url }: Exchange): void {
  sendJson(response, { body: listImages(catalog.all(), url.searchParams) });
}

function showOne(service: Service, exchange: Exchange): void {
  const image = imageOf(service, exchange);
  service.counters.add(image.id, { records: 1 });
  strike(service.faults?.take(image.id, 'record'));
  sendJson(exchange.response, { body: showImage(image) });
}

async function createImage({ catalog }: Service, { request, response }: Exchange): Promise<void> {
  demandJson(request);
  const image = parseNewImage(await readJson(request), { generatedId: randomUUID(), sequence: catalog.nextSequence() });
  if (catalog.isTaken(image.id)) throw new HttpError(409, `Image ID ${image.id} already exists!`);
  await catalog.put(image);
  sendJson(response, { status: 201, headers: { location: `/v2/images/${image.id}` }, body: showImage(image) });
}

async function editImage(service: Service, exchange: Exchange): Promise<void> {
  const { request, response } = exchange;
  if (mediaType(request) !== PATCH_MEDIA_TYPE) throw unsupported(request, { 'accept-patch': PATCH_MEDIA_TYPE });
  const body = await readJson(request);
  const image = imageOf(service, exchange);
  const changed = await service.catalog.change(image.id, patchImage(image, body));
  sendJson(response, { body: showImage(changed ?? image) });
}

async function deleteImage(service: Service, exchange: Exchange): Promise<void> {
  const image = imageOf(service, exchange);
  if (image.protected) throw new HttpError(403, `Image ${image.id} is protected and cannot be deleted.`);
  await service.catalog.change(image.id, { status: 'deleted' });
  await rm(service.catalog.dataPath(image.id), { force: true });
  sendEmpty(exchange.response);
}

async function download(service: Service, exchange: Exchange): Promise<void> {
  const image = imageOf(service, exchange);
  const { catalog, counters, faults } = service;
  const fault = faults?.take(image.id, 'file');
  await serveFile(exchange.request, exchange.response, { image, path: catalog.dataPath(image.id), counters, fault });
}

async function upload(service: Service, exchange: Exchange): Promise<void> {
  const { request, response } = exchange;
  const { catalog } = service;
  if (mediaType(request) !== 'application/octet-stream') throw unsupported(request);
  const image = imageOf(service, exchange);
  if (image.disk_format === null || image.container_format === null)
    throw new HttpError(400, 'Properties disk_format, container_format must be set prior to saving data.');
  if (image.status !== 'queued')
    throw new HttpError(409, `Image status transition from ${image.status} to saving is not allowed`);
  const fault = service.faults?.take(image.id, 'upload');
  strike(fault);
  await catalog.change(image.id, { status: 'saving' });
  const path = catalog.dataPath(image.id);
  try {
    const body = fault === undefined ? readBody(request) : spoiledUpload(request, fault);
    const file = await receiveFile(path, body, image.disk_format);
    const saved = await catalog.change(image.id, { ...file, status: 'active' });
    if (saved !== undefined) return sendEmpty(response);
  } catch (error) {
    await catalog.change(image.id, { status: 'queued' });
    throw isDiskFull(error) ? new HttpError(413, 'There is not enough disk space on the image storage media.') : error;
  }
  await rm(path, { force: true });
  throw new HttpError(410, `Image ${image.id} was deleted during its upload.`);
}

async function switchImage(service: Service, exchange: Exchange): Promise<void> {
  const image = imageOf(service, exchange);
  const action = exchange.captured[1] ?? '';
  if (image.status !== 'active' && image.status !== 'deactivated')
    throw new HttpError(403, `Not allowed to ${action} image in status '${image.status}'`);
  await service.catalog.change(image.id, { status: action === 'deactivate' ? 'deactivated' : 'active' });
  sendEmpty(exchange.response);
}

async function addTag(service: Service, exchange: Exchange): Promise<void> {
  const image = imageOf(service, exchange);
  const tags = [...new Set([...image.tags, tagOf(exchange)])].sort();
  await service.catalog.change(image.id, { tags });
  sendEmpty(exchange.response);
}

async function removeTag(service: Service, exchange: Exchange): Promise<void> {
  const image = imageOf(service, exchange);
  const tag = tagOf(exchange);
  if (!image.tags.includes(tag)) throw new HttpError(404, 'The resource could not be found.');
  await service.catalog.change(image.id, { tags: image.tags.filter((other) => other !== tag) });
  sendEmpty(exchange.response);
}

function showCounters({ counters }: Service, { response }: Exchange): void {
  sendJson(response, { body: { images: counters.all() } });
}

async function injectFault({ faults }: Service, { request, response }: Exchange): Promise<void> {
  if (faults === undefined) throw new HttpError(404, 'The resource could not be found.');
  demandJson(request);
  faults.inject(await readJson(request));
  sendEmpty(response);
}

function clearFaults({ faults }: Service, { response }: Exchange): void {
  faults?.clear();
  sendEmpty(response);
}

const TAG_LENGTH = 255;

function tagOf({ captured }: Exchange): string {
  try {
    const tag = decodeURIComponent(captured[1] ?? '');
    if (tag.length <= TAG_LENGTH) return tag;
  } catch {
    // Falls through to the same answer: this is no tag.
  }
  throw new HttpError(400, `A tag has at most ${TAG_LENGTH} characters.`);
}
