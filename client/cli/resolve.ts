import { uuidPattern } from '../../workflows/contract/ids';
import type { Image } from '../../workflows/contract/image';
import { quote } from '../../workflows/contract/words';
import type { ImageVolumeCache } from '../connection';
import { failureError, ImageVolumeCacheError } from '../errors';
import type { ImageCatalog } from '../images';

/*
 * A person's text for an id: the id, its first digits (four at least), or the name. A whole id is taken as it is, and
 * nothing is asked. @throws ImageVolumeCacheError `…NotFound`; `InvalidRequest` with the candidates where several are meant.
 */

interface Candidate {
  id: string;
  name: string | null;
}

/** Candidates that a refusal names. */
const MOST_CANDIDATES = 6;

/** @param projectId whose volumes; undefined: anybody's. */
export async function resolveVolume(cache: ImageVolumeCache, text: string, projectId?: string): Promise<string> {
  return await choose('volume', text, {
    find: async (called, limit) => {
      const found = await (await cache.inventory()).listVolumes({ called, projectId, limit });
      return found.map(({ volumeId: id, name }) => ({ id, name }));
    },
    absent: () => failureError('VolumeNotFound', { volumeId: text }),
  });
}

export async function resolveSnapshot(cache: ImageVolumeCache, text: string, projectId?: string): Promise<string> {
  return await choose('snapshot', text, {
    find: async (called, limit) => {
      const found = await (await cache.inventory()).listSnapshots({ called, projectId, limit });
      return found.map(({ snapshotId: id, name }) => ({ id, name }));
    },
    absent: () => failureError('SnapshotNotFound', { snapshotId: text }),
  });
}

/** An entry's name is that of its image-volume. */
export async function resolveEntry(cache: ImageVolumeCache, text: string): Promise<string> {
  return await choose('cache entry', text, {
    find: async (called, limit) => {
      const found = await (await cache.inventory()).listEntries({ called, limit });
      return found.map(({ entryId: id, imageVolume: name }) => ({ id, name }));
    },
    absent: () => {
      const message = `entryId: there is no cache entry ${quote(text)}`;
      return new ImageVolumeCacheError({ type: 'EntryNotFound', message, details: { entryId: text } });
    },
  });
}

export async function resolveImage(cache: ImageVolumeCache, text: string): Promise<string> {
  return await choose('image', text, {
    find: async (called) => await findImages(await cache.images(), called),
    absent: () => {
      const message = `imageId: there is no image ${quote(text)} that this project may read`;
      return new ImageVolumeCacheError({ type: 'ImageNotFound', message, details: { imageId: text } });
    },
  });
}

/** As `resolveImage`; a whole id is asked for as well. @throws ImageVolumeCacheError `ImageNotFound` also for it. */
export async function resolveReadableImage(cache: ImageVolumeCache, text: string): Promise<string> {
  const imageId = await resolveImage(cache, text);
  if (imageId === text.toLowerCase()) await (await cache.images()).getImage(imageId);
  return imageId;
}

/** As `resolveReadableImage`, of what is cached: an image that the service has no more is known by the entries of it. */
export async function resolveCachedImage(cache: ImageVolumeCache, text: string): Promise<string> {
  try {
    return await resolveReadableImage(cache, text);
  } catch (error) {
    const id = text.toLowerCase();
    if (!uuidPattern.test(id)) throw error;
    const entries = await (await cache.inventory()).listEntries({ limit: MOST_ENTRIES });
    if (entries.some(({ images }) => images.some(({ imageId }) => imageId === id))) return id;
    throw error;
  }
}

/** That are looked through for an image. */
const MOST_ENTRIES = 2000;

/** An image by what a create takes: `follow:NAME` is left to it. */
export async function resolveSource(cache: ImageVolumeCache, text: string): Promise<string> {
  return text.startsWith('follow:') ? text : await resolveImage(cache, text);
}

interface Lookup {
  find: (called: string, limit: number) => Promise<Candidate[]>;
  absent: () => ImageVolumeCacheError;
}

async function choose(kind: string, text: string, { find, absent }: Lookup): Promise<string> {
  const id = text.toLowerCase();
  if (uuidPattern.test(id)) return id;
  const found = await find(text, MOST_CANDIDATES);
  const [only] = found;
  if (only === undefined) throw absent();
  if (found.length === 1) return only.id;
  const more = found.length >= MOST_CANDIDATES ? ', …' : '';
  const candidates = found.map((one) => (one.name === null ? one.id : `${one.id} (${one.name})`)).join(', ');
  throw failureError('InvalidRequest', { field: kind, value: quote(text), allowed: `one of ${candidates}${more}` });
}

/** The image service finds names, but no beginnings of ids: so many of the newest are looked through. */
const MOST_IMAGES = 2000;
const PAGE_IMAGES = 100;

async function findImages(catalog: ImageCatalog, called: string): Promise<Candidate[]> {
  const { images: named } = await catalog.listImages({ name: called, limit: MOST_CANDIDATES });
  const prefix = called.toLowerCase();
  const begun = /^[0-9a-f-]{4,}$/.test(prefix) ? await imagesBeginning(catalog, prefix) : [];
  const found = new Map([...named, ...begun].map(({ id, name }) => [id, { id, name }]));
  return [...found.values()].slice(0, MOST_CANDIDATES);
}

async function imagesBeginning(catalog: ImageCatalog, prefix: string): Promise<Image[]> {
  const found: Image[] = [];
  let marker: string | undefined;
  for (let seen = 0; seen < MOST_IMAGES && found.length < MOST_CANDIDATES; seen += PAGE_IMAGES) {
    const page = await catalog.listImages({ marker, limit: PAGE_IMAGES });
    found.push(...page.images.filter(({ id }) => id.startsWith(prefix)));
    marker = page.nextMarker;
    if (marker === undefined) break;
  }
  return found;
}
