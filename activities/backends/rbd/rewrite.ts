import { MiB } from '../../../workflows/contract/bytes';
import { Failure } from '../../../workflows/contract/failures';
import type { CopyOptions, VolumeReplacement } from '../backend';
import { checkSameContent, type StoredVolumeMarker } from '../markers';
import { checkSize } from '../sizes';
import type { SnapshotSpec } from './cluster';
import { checkNotFull, withFailures, type RbdContext } from './context';
import { flattenImage } from './flatten';
import { storedOf } from './half-made';
import { MARKER_KEY, SEAL } from './names';
import { getSealedParent } from './parent';
import { checkClaim } from './place';
import { extentsOfSnapshot } from './volume-snapshot';
import { findOpener, MAX_IMAGE_BYTES } from './volume';

const PIECE_BYTES = 4 * MiB;

/**
 * See `VolumeBackend.ensureRewritten`. The image is flattened, so that nothing of it needs the old parent; then it is shrunk to nothing and grown, which leaves
 * its snapshots alone, and the new bytes are written. Its marker names no image meanwhile, and the new bytes at last.
 */
export async function ensureRewritten(
  context: RbdContext,
  replacement: VolumeReplacement,
  options: CopyOptions = {},
): Promise<void> {
  const { cluster, names } = context;
  const { marker } = replacement;
  const { volumeId, sizeBytes } = marker;
  const name = names.volumeOf(volumeId);
  const mark = async (stored: StoredVolumeMarker): Promise<void> =>
    await cluster.completeImage(name, { sizeBytes, metadata: { [MARKER_KEY]: JSON.stringify(stored) } });
  await withFailures(
    context,
    async () => {
      await checkClaim(context);
      const image = await cluster.describeImage(name, [MARKER_KEY]);
      if (image === undefined) throw new Failure('VolumeNotFound', { volumeId });
      const stored = storedOf(image);
      if (stored !== undefined && checkSameContent(context, stored, replacement)) return;
      await waitForOthers(context, replacement);
      const source = await sourceOf(context, replacement);
      checkSize(sizeBytes, { leastBytes: source.sizeBytes, mostBytes: MAX_IMAGE_BYTES });
      await checkNotFull(context, source.sizeBytes);
      if (image.parent !== undefined)
        await flattenImage(context, { name, sizeBytes: image.sizeBytes }, { signal: options.signal });
      const { cacheKey: _former, ...ofNoImage } = stored?.marker ?? marker;
      await mark({ marker: ofNoImage, parent: null });
      await cluster.emptyImage?.(name, { sizeBytes, signal: options.signal });
      await copy(context, { source, name }, options);
      await mark({ marker, parent: null });
    },
    sizeBytes,
  );
}

/** A client that was killed is seen until its watch ends: all that it sent has come by then. @throws BackendUnavailable. */
async function waitForOthers(context: RbdContext, { marker: { volumeId } }: VolumeReplacement): Promise<void> {
  const by = await findOpener(context, volumeId);
  if (by === undefined) return;
  throw new Failure('BackendUnavailable', { backend: context.name, cause: `${by} has volume ${volumeId} open` });
}

interface Source extends SnapshotSpec {
  sizeBytes: number;
}

async function sourceOf(context: RbdContext, { parent, target, marker }: VolumeReplacement): Promise<Source> {
  const { cluster, names } = context;
  if (target === undefined) {
    const { virtualBytes } = await getSealedParent(context, parent);
    return { image: names.imageOf(parent), snapshot: SEAL, sizeBytes: virtualBytes };
  }
  const image = names.attemptOf({ kind: 'volume', name: marker.volumeId, attempt: target.attempt });
  const found = await cluster.describeImage(image, []);
  // So that its object map tells where it has data.
  if (found?.snapshots.includes(SEAL) !== true) await cluster.createSnapshot(image, SEAL);
  return { image, snapshot: SEAL, sizeBytes: target.virtualBytes };
}

async function copy(
  context: RbdContext,
  { source, name }: { source: Source; name: string },
  { onProgress, signal }: CopyOptions,
): Promise<void> {
  const { cluster } = context;
  const reader = await cluster.openReader?.(source.image, source.snapshot);
  if (reader === undefined) throw new Error('the rbd tool has no reader');
  try {
    const writer = await cluster.openWriter?.(name);
    if (writer === undefined) throw new Error('the rbd tool has no writer');
    try {
      for await (const { offset, lengthBytes } of extentsOfSnapshot(context, source)) {
        const end = Math.min(offset + lengthBytes, source.sizeBytes);
        for (let position = offset; position < end; position += PIECE_BYTES) {
          signal?.throwIfAborted();
          await writer.write(await reader.read(position, Math.min(PIECE_BYTES, end - position)), position);
          onProgress?.(position / source.sizeBytes);
        }
      }
      await writer.flush();
    } finally {
      await writer.close();
    }
  } finally {
    await reader.close();
  }
}
