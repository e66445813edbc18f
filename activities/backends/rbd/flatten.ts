import { pause } from '../../../lib/abort';
import { Failure } from '../../../workflows/contract/failures';
import type { VolumeId } from '../../../workflows/contract/ids';
import type { FlattenOptions } from '../backend';
import { isCephError } from './ceph-error';
import type { RbdContext } from './context';
import { isIncompleteClone } from './half-made';
import { FLATTEN_KEY, MARKER_KEY } from './names';
import { findOpener } from './volume';

const PROGRESS_MS = 1000;
/** Ceph takes a client that was killed for alive for half a minute: the worker of an earlier flatten may be such a one. */
const DEAD_CLIENT_MS = 40_000;
const RETRY_MS = 1000;

/**
 * See `VolumeBackend.ensureFlattened`. Objects that an ended call has copied stay, and the next one goes on from there. The pace is that of librbd's
 * operations, each an object: one at least, see `operationsAtOnce`.
 */
export async function ensureFlattened(
  context: RbdContext,
  volumeId: VolumeId,
  options: FlattenOptions,
): Promise<'flattened' | 'independent' | 'absent'> {
  const { cluster, names } = context;
  const name = names.volumeOf(volumeId);
  const image = await cluster.describeImage(name, [MARKER_KEY, FLATTEN_KEY]);
  if (image === undefined || isIncompleteClone(context, name, image)) return 'absent';
  if (image.parent === undefined) return 'independent';
  const { sizeBytes } = image;
  const hasBegun = image.metadata[FLATTEN_KEY] !== undefined;
  await awaitUnused(context, { volumeId, patienceMs: hasBegun ? DEAD_CLIENT_MS : 0, signal: options.signal });
  if (!hasBegun) await cluster.completeImage(name, { sizeBytes, metadata: { [FLATTEN_KEY]: 'begun' } });
  return await flattenImage(context, { name, sizeBytes }, options);
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

/** @throws VolumeInUse when somebody has it open, after so long. */
async function awaitUnused(
  context: RbdContext,
  { volumeId, patienceMs, signal }: { volumeId: VolumeId; patienceMs: number; signal?: AbortSignal },
): Promise<void> {
  for (const deadline = Date.now() + patienceMs; ;) {
    const opener = await findOpener(context, volumeId);
    if (opener === undefined) return;
    if (Date.now() >= deadline) throw new Failure('VolumeInUse', { volumeId, by: opener });
    await pause(RETRY_MS, signal ?? new AbortController().signal);
  }
}
