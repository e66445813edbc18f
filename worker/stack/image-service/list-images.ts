import { HttpError } from './http';
import { showImage, type RecordedImage } from './record';
import { sortImages } from './sort-images';

/** Images a page when the caller says nothing, and at most: Glance's defaults. */
const DEFAULT_LIMIT = 25;
const MAX_LIMIT = 1000;

const notFilters = new Set(['limit', 'marker', 'sort', 'sort_key', 'sort_dir', 'tag']);

/** One page of `GET /v2/images`; every other parameter filters by equality. @throws HttpError 400. */
export function listImages(images: RecordedImage[], query: URLSearchParams): Record<string, unknown> {
  const limit = Math.min(parseLimit(query.get('limit')), MAX_LIMIT);
  const rest = afterMarker(sortImages(images, query.get('sort')), query.get('marker'));
  const page = rest.filter((image) => matches(image, query)).slice(0, limit);
  const first = query.size === 0 ? '/v2/images' : `/v2/images?${query.toString()}`;
  return { images: page.map(showImage), first, schema: '/v2/schemas/images', ...nextOf(page, { query, limit }) };
}

function parseLimit(text: string | null): number {
  if (text === null) return DEFAULT_LIMIT;
  if (!/^-?\d{1,9}$/.test(text)) throw new HttpError(400, 'limit param must be an integer');
  if (Number(text) < 0) throw new HttpError(400, 'limit param must be positive');
  return Number(text);
}

function afterMarker(images: RecordedImage[], marker: string | null): RecordedImage[] {
  if (marker === null) return images;
  const at = images.findIndex(({ id }) => id === marker);
  if (at === -1) throw new HttpError(400, `No image found with ID ${marker}`);
  return images.slice(at + 1);
}

function matches(image: RecordedImage, query: URLSearchParams): boolean {
  if (image.os_hidden !== (query.get('os_hidden') === 'true')) return false;
  if (!query.getAll('tag').every((tag) => image.tags.includes(tag))) return false;
  const shown = showImage(image);
  const filters = [...query].filter(([name]) => !notFilters.has(name) && name !== 'os_hidden');
  return filters.every(([name, value]) => String(shown[name]) === value);
}

/** A full page has a next one, which may be empty. */
function nextOf(page: RecordedImage[], { query, limit }: { query: URLSearchParams; limit: number }): { next?: string } {
  const last = page.at(-1);
  if (last === undefined || page.length < limit) return {};
  const next = new URLSearchParams(query);
  next.set('marker', last.id);
  return { next: `/v2/images?${next.toString()}` };
}
