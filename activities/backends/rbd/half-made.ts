import { setTimeout as delay } from 'node:timers/promises';
import { dataRuns } from '../../image/sparse-write';
import { parseVolumeMarker, type StoredVolumeMarker } from '../markers';
import type { RbdImage } from './cluster';
import type { RbdContext } from './context';
import { MARKER_KEY, SEAL } from './names';

/**
 * States of a clone that was killed: a name that does not open, then an image without a parent, then one with its parent's marker. The last step gives
 * it its own.
 */

/** Whether it has the marker of its parent, which a clone begins with, in place of its own. @param name of the image. */
export function isIncompleteClone({ names, pool }: RbdContext, name: string, image: RbdImage): boolean {
  if (image.parent?.pool !== pool.pool) return false;
  const stored = storedOf(image);
  const parent = names.parse(image.parent.image);
  if (parent?.kind === 'image-volume') return stored === undefined && image.parent.snapshot === SEAL;
  return parent?.kind === 'volume' && stored?.marker.volumeId !== names.parse(name)?.name;
}

/** Whether it has neither a parent nor a marker: it is half-made, unless somebody has written into it. */
export function isUnmade(image: RbdImage): boolean {
  return image.parent === undefined && storedOf(image) === undefined;
}

/** A clone gets its parent some milliseconds after its name: an image with neither parent nor marker may be on its way. */
const MAKING_MS = 3000;
const MAKING_RETRY_MS = 100;

/** @returns undefined for what does not open, or was never written and has no parent: a clone was killed in its first milliseconds. */
export async function describeMade(context: RbdContext, name: string): Promise<RbdImage | undefined> {
  for (const deadline = Date.now() + MAKING_MS; ;) {
    const image = await context.cluster.describeImage(name, [MARKER_KEY]);
    if (image !== undefined && !isUnmade(image)) return image;
    if (Date.now() < deadline) {
      await delay(MAKING_RETRY_MS);
      continue;
    }
    return image === undefined || (await isEmpty(context, name)) ? undefined : image;
  }
}

/** Whether it reads as zeros. An image that was killed has no object map that holds, so that all of it counts as used. */
export async function isEmpty({ cluster }: RbdContext, name: string): Promise<boolean> {
  if ((await cluster.usedBytes(name)) === 0) return true;
  const found = new Error('there is data');
  const consume = (bytes: Buffer): Promise<void> =>
    dataRuns(bytes).length === 0 ? Promise.resolve() : Promise.reject(found);
  try {
    await cluster.read(name, { consume });
    return true;
  } catch (error) {
    if (error === found) return false;
    throw error;
  }
}

export function storedOf(image: RbdImage): StoredVolumeMarker | undefined {
  return parseVolumeMarker(image.metadata[MARKER_KEY] ?? '');
}
