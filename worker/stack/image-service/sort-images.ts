import { HttpError } from './http';
import type { RecordedImage } from './record';

/**
 * Sort keys of Glance that are of use here; dates have whole seconds, so the order of creation decides between equal
 * ones.
 */
const keys: Record<string, (image: RecordedImage) => string | number> = {
  created_at: ({ sequence }) => sequence,
  updated_at: ({ updated_at: at }) => at,
  name: ({ name }) => name ?? '',
  status: ({ status }) => status,
  size: ({ size }) => size ?? 0,
  id: ({ id }) => id,
};

/**
 * @param sort `created_at:desc,id:desc`: keys and directions, the default of which is `desc`.  @throws HttpError 400.
 */
export function sortImages(images: RecordedImage[], sort: string | null): RecordedImage[] {
  if (sort === null) return images;
  const orders = sort.split(',').map(parseOrder);
  return images.toSorted((a, b) => orders.reduce((decided, order) => decided || order(a, b), 0));
}

function parseOrder(text: string): (a: RecordedImage, b: RecordedImage) => number {
  const [key = '', direction = 'desc', ...rest] = text.split(':');
  const valueOf = Object.hasOwn(keys, key) ? keys[key] : undefined;
  if (valueOf === undefined || rest.length > 0) throw new HttpError(400, `Invalid sort key: ${text}`);
  if (direction !== 'asc' && direction !== 'desc') throw new HttpError(400, `Invalid sort direction: ${direction}`);
  const sign = direction === 'asc' ? 1 : -1;
  return (a, b) => sign * compare(valueOf(a), valueOf(b));
}

function compare(a: string | number, b: string | number): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
