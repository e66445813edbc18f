import type { Extent } from '../../extents';
import { koffi, type Handle } from '../bindings';
import { CephError } from '../ceph-error';
import { imageSizeOf } from './describe-image';
import { linkedParentOf, withLinked } from './linked-images';
import { calls, plain } from './session';

const FEATURE_OBJECT_MAP = 1n << 3n;
const FEATURE_FAST_DIFF = 1n << 4n;
const FLAG_FAST_DIFF_INVALID = 1n << 1n;

export async function usedBytesOf(image: Handle): Promise<number> {
  let used = 0;
  const range = { offset: 0, lengthBytes: await imageSizeOf(image) };
  await forEachUsed(image, range, ({ lengthBytes }) => (used += lengthBytes));
  return used;
}

/** From the object map, in this thread: milliseconds. Where there is none that holds, the image counts as full. */
async function forEachUsed(image: Handle, range: Extent, onUsed: (used: Extent) => void): Promise<void> {
  const features: [number | bigint] = [0];
  const flags: [number | bigint] = [0];
  await calls.features(image, features);
  await calls.flags(image, flags);
  const isKnown =
    (BigInt(features[0]) & FEATURE_FAST_DIFF) !== 0n && (BigInt(flags[0]) & FLAG_FAST_DIFF_INVALID) === 0n;
  if (!isKnown) return onUsed(range);
  const onPart = (offset: number | bigint, length: number | bigint, exists: number): number => {
    if (exists) onUsed({ offset: Number(offset), lengthBytes: Number(length) });
    return 0;
  };
  const { offset, lengthBytes } = range;
  const outcome = plain.iterateDiff(image, null, offset, lengthBytes, 0, 1, onPart, null) as number;
  if (outcome < 0) throw new CephError('rbd_diff_iterate2', -outcome);
}

/** Parts of a range that an image and those that it reads from have, in any order. */
export async function extentsOf(image: Handle, { offset, lengthBytes }: Extent): Promise<Extent[]> {
  const end = Math.min(offset + lengthBytes, await imageSizeOf(image));
  if (end <= offset) return [];
  const range = { offset, lengthBytes: end - offset };
  const found: Extent[] = [];
  await forEachUsed(image, range, (used) => void found.push(used));
  const parent = await linkedParentOf(image);
  if (parent === undefined) return found;
  const ofParent = await withLinked(parent, async (opened) => {
    // By its number: one that was deleted waits without its name for its last clone.
    await calls.setSnapshot(opened, parent.snapshotId);
    return await extentsOf(opened, range);
  });
  return [...found, ...ofParent];
}

/** @returns the same bytes, in order and apart from each other. */
export function joinRanges(ranges: Extent[]): Extent[] {
  const joined: Extent[] = [];
  for (const { offset, lengthBytes } of ranges.sort((a, b) => a.offset - b.offset)) {
    const last = joined.at(-1);
    if (last === undefined || offset > last.offset + last.lengthBytes) joined.push({ offset, lengthBytes });
    else last.lengthBytes = Math.max(last.lengthBytes, offset + lengthBytes - last.offset);
  }
  return joined;
}

/** Does `work` without the image's object map, and makes that anew after it. */
export async function withoutObjectMap(image: Handle, work: () => Promise<unknown>): Promise<void> {
  const features: [number | bigint] = [0];
  await calls.features(image, features);
  const found = BigInt(features[0]) & (FEATURE_OBJECT_MAP | FEATURE_FAST_DIFF);
  if (found !== 0n) await calls.updateFeatures(image, found, 0);
  await work();
  if (found === 0n) return;
  await calls.updateFeatures(image, found, 1);
  // librbd tells of its progress, whether one asks or not.
  const onProgress = koffi.register(() => 0, 'rbd_progress *');
  try {
    await calls.rebuildObjectMap(image, onProgress, null);
  } finally {
    koffi.unregister(onProgress);
  }
}
