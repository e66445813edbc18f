import type { EvictionView } from '../../db/evictions/eviction-view';
import type { EntryRow } from '../../db/schema';
import { formatBytes } from '../../workflows/contract/bytes';
import type { EntryId } from '../../workflows/contract/ids';
import type { Ranked } from './rank-candidates';

/** Amounts to be given back, and an entry's part of them. */
export interface Shortage {
  bytes: number;
  count: number;
  /** Bytes that this entry's going gives back. */
  measure: (entry: EntryRow) => number;
}

export interface Lowest {
  selected: Ranked[];
  isEnough: boolean;
  /** Amounts still short. */
  left: Shortage;
}

/**
 * @returns the first of the ranked entries that together give back what is short; all of them where that is not enough.
 */
export function selectLowest(ranked: Ranked[], { bytes, count, measure }: Shortage): Lowest {
  const left = { bytes, count, measure };
  const selected: Ranked[] = [];
  for (const each of ranked) {
    if (left.bytes <= 0 && left.count <= 0) break;
    selected.push(each);
    left.bytes -= measure(each.candidate.entry);
    left.count -= 1;
  }
  return { selected, isEnough: left.bytes <= 0 && left.count <= 0, left };
}

/** Bytes that a deletion gives the backend back: as it has said, else as measured when they were written. */
export function reclaimableOf({
  reclaimableBytes,
  realBytes,
}: Pick<EntryRow, 'reclaimableBytes' | 'realBytes'>): number {
  return reclaimableBytes ?? realBytes;
}

/** A choice under way. */
interface Choice {
  view: EvictionView;
  chosen: ReadonlyMap<EntryId, Ranked & { held: boolean }>;
}

type Explained = Shortage & { why: string };

/** @returns by how much the limits are exceeded by what is not chosen yet; undefined when they hold. */
export function limitsShortage({ view, chosen }: Choice): Explained | undefined {
  const { backend, used } = view;
  const going = [...chosen.values()].filter(({ candidate }) => candidate.entry.counted);
  const bytes =
    used.bytes - going.reduce((sum, { candidate }) => sum + candidate.entry.realBytes, 0) - backend.maxBytes;
  const count = used.count - going.length - backend.maxCount;
  if (bytes <= 0 && count <= 0) return undefined;
  const limit = bytes > 0 ? `maxBytes ${formatBytes(backend.maxBytes)}` : `maxCount ${backend.maxCount}`;
  const measure: Shortage['measure'] = ({ realBytes }) => realBytes;
  return { bytes: Math.max(bytes, 0), count: Math.max(count, 0), measure, why: `the cache is over its limit ${limit}` };
}

/**
 * The watermarks of the backend's real space, with hysteresis: nothing is needed above the low one; below it, as much
 * as brings it to the high one.
 * @returns undefined when there is space enough, or none is known.
 */
export function spaceShortage({ view, chosen }: Choice): Explained | undefined {
  const { freeBytes, totalBytes, freeLowWater, freeHighWater } = view.backend;
  if (freeBytes === null || totalBytes === null) return undefined;
  if (freeBytes >= freeLowWater * totalBytes) return undefined;
  const coming = [...chosen.values()]
    .filter(({ held }) => !held)
    .reduce((sum, { candidate }) => sum + reclaimableOf(candidate.entry), 0);
  const bytes = freeHighWater * totalBytes - freeBytes - coming;
  if (bytes <= 0) return undefined;
  const why = `${formatBytes(freeBytes)} of the backend's ${formatBytes(totalBytes)} are free, less than freeLowWater`;
  return { bytes, count: 0, measure: reclaimableOf, why };
}

/**
 * Whether `neededBytes` more may be written beside parents that stay on the backend until their last clone is gone:
 * above the low watermark, what running populations have reserved taken off. Where the space is not known it may.
 */
export function mayHoldMore({ backend, used }: EvictionView, neededBytes: number): boolean {
  const { freeBytes, totalBytes, freeLowWater } = backend;
  if (freeBytes === null || totalBytes === null) return true;
  return freeBytes - used.reservedBytes - neededBytes >= freeLowWater * totalBytes;
}
