import { badRequest } from './errors';

/** Rows of a list at most. Source: `osapi_max_limit` of Cinder. */
const MAX_LIMIT = 1000;

export interface Page {
  limit: number;
  /** The id of the last one of the page before. */
  marker: string | undefined;
  offset: number;
}

/** @throws ApiError 400 for what is no number, or below 0. */
export function pageOf({ limit, marker, offset }: Record<string, string | undefined>): Page {
  return {
    limit: Math.min(limit === undefined ? MAX_LIMIT : wholeNumber('limit', limit), MAX_LIMIT),
    marker: marker === '' ? undefined : marker,
    offset: offset === undefined ? 0 : wholeNumber('offset', offset),
  };
}

export interface Sort<Key extends string> {
  by: Key;
  descending: boolean;
}

/**
 * @param keys the ones that are served, by Cinder's names. @returns those that a list is sorted by, the first one first; its ids break ties.
 * @throws ApiError 400 for another key or direction.
 */
export function sortOf<Key extends string>(
  { sort, sort_key: sortKey, sort_dir: sortDir }: Record<string, string | undefined>,
  keys: Readonly<Record<string, Key>>,
): Sort<Key>[] | undefined {
  if (sort !== undefined && (sortKey !== undefined || sortDir !== undefined))
    throw badRequest(
      "The 'sort_key' and 'sort_dir' parameters are deprecated and cannot be used with the 'sort' parameter.",
    );
  if (sort !== undefined) return sort.split(',').map((item) => oneSortOf(item, keys));
  if (sortKey === undefined && sortDir === undefined) return undefined;
  return [oneSortOf(`${sortKey ?? 'created_at'}:${sortDir ?? ''}`, keys)];
}

function oneSortOf<Key extends string>(item: string, keys: Readonly<Record<string, Key>>): Sort<Key> {
  const [key = '', direction = ''] = item.split(':').map((part) => part.trim());
  const by = Object.hasOwn(keys, key) ? keys[key] : undefined;
  if (by === undefined)
    throw badRequest(`Invalid sort key: ${key.slice(0, 64)}; allowed are ${Object.keys(keys).join(', ')}`);
  if (!['asc', 'desc', ''].includes(direction))
    throw badRequest(`Unknown sort direction ${direction.slice(0, 64)}, must be 'desc' or 'asc'.`);
  return { by, descending: direction !== 'asc' };
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (!/^\d{1,10}$/.test(text) || value > 2 ** 31 - 1)
    throw badRequest(`${name} param must be an integer of 0 or more, got ${text.slice(0, 64)}`);
  return value;
}
