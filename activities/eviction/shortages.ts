import type { EvictionView } from '../../db/evictions/eviction-view';
import { formatBytes } from '../../workflows/contract/bytes';
import type { EntryId } from '../../workflows/contract/ids';
import type { Judged } from './judge';
import { reclaimableOf, type Shortage } from './take-lowest';

/** What a choice that is under way has taken so far. */
interface Takings {
  view: EvictionView;
  taken: ReadonlyMap<EntryId, Judged & { held: boolean }>;
}

type Explained = Shortage & { why: string };

/** @returns by how much the limits are exceeded by what is not taken yet; undefined when they hold. */
export function limitsShortage({ view, taken }: Takings): Explained | undefined {
  const { backend, used } = view;
  const going = [...taken.values()].filter(({ candidate }) => candidate.entry.counted);
  const bytes =
    used.bytes - going.reduce((sum, { candidate }) => sum + candidate.entry.realBytes, 0) - backend.maxBytes;
  const count = used.count - going.length - backend.maxCount;
  if (bytes <= 0 && count <= 0) return undefined;
  const limit = bytes > 0 ? `maxBytes ${formatBytes(backend.maxBytes)}` : `maxCount ${backend.maxCount}`;
  const measure: Shortage['measure'] = ({ candidate }) => candidate.entry.realBytes;
  return { bytes: Math.max(bytes, 0), count: Math.max(count, 0), measure, why: `the cache is over its limit ${limit}` };
}

/**
 * The watermarks of the backend's real space, with hysteresis: nothing is needed above the low one; below it, as much as brings it to the high one.
 * @returns undefined when there is space enough, or none is known.
 */
export function spaceShortage({ view, taken }: Takings): Explained | undefined {
  const { freeBytes, totalBytes, freeLowWater, freeHighWater } = view.backend;
  if (freeBytes === null || totalBytes === null) return undefined;
  if (freeBytes >= freeLowWater * totalBytes) return undefined;
  const coming = [...taken.values()].filter(({ held }) => !held).reduce((sum, each) => sum + reclaimableOf(each), 0);
  const bytes = freeHighWater * totalBytes - freeBytes - coming;
  if (bytes <= 0) return undefined;
  const why = `${formatBytes(freeBytes)} of the backend's ${formatBytes(totalBytes)} are free, less than freeLowWater`;
  return { bytes, count: 0, measure: reclaimableOf, why };
}

/**
 * Whether `neededBytes` more may be written beside parents that stay on the backend until their last clone is gone: above the low watermark,
 * what running populations have reserved taken off. Where the space is not known it may.
 */
export function mayHoldMore({ backend, used }: EvictionView, neededBytes: number): boolean {
  const { freeBytes, totalBytes, freeLowWater } = backend;
  if (freeBytes === null || totalBytes === null) return true;
  return freeBytes - used.reservedBytes - neededBytes >= freeLowWater * totalBytes;
}
