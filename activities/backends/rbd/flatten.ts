import { Failure } from '../../../workflows/contract/failures';
import type { VolumeId } from '../../../workflows/contract/ids';
import type { FlattenOptions } from '../backend';
import { isCephError } from './ceph-error';
import { withFailures, type RbdContext } from './context';
import { isIncompleteClone } from './half-made';
import { MARKER_KEY } from './names';
import { findOpener } from './volume';

const PROGRESS_MS = 1000;

/** See `VolumeBackend.ensureFlattened`. What a call that was ended has copied stays, and the next one goes on from there. */
export async function ensureFlattened(
  context: RbdContext,
  volumeId: VolumeId,
  options: FlattenOptions,
): Promise<'flattened' | 'independent' | 'absent'> {
  const { cluster, names } = context;
  const name = names.volumeOf(volumeId);
  return await withFailures(context, async () => {
    const image = await cluster.describeImage(name, [MARKER_KEY]);
    if (image === undefined || isIncompleteClone(context, image)) return 'absent';
    if (image.parent === undefined) return 'independent';
    const opener = await findOpener(context, volumeId);
    if (opener !== undefined) throw new Failure('VolumeInUse', { volumeId, by: opener });
    return await flattenImage(context, { name, sizeBytes: image.sizeBytes }, options);
  });
}

/** Of an image that has a parent. @throws CephError; the signal's reason. */
export async function flattenImage(
  { cluster }: RbdContext,
  { name, sizeBytes }: { name: string; sizeBytes: number },
  { bytesPerSecond, onProgress, signal }: FlattenOptions,
): Promise<'flattened' | 'absent'> {
  const report = async (): Promise<void> => onProgress?.(Math.min(1, (await cluster.usedBytes(name)) / sizeBytes));
  // A reading that fails costs one report, not the flatten.
  const timer = setInterval(() => void report().catch(() => undefined), PROGRESS_MS);
  try {
    await cluster.flatten(name, { bytesPerSecond, signal });
  } catch (error) {
    if (isCephError(error, 'absent')) return 'absent';
    // Another flatten of it was faster.
    if (!isCephError(error, 'invalid')) throw error;
  } finally {
    clearInterval(timer);
  }
  onProgress?.(1);
  return 'flattened';
}
