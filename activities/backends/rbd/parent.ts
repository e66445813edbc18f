import { Failure } from '../../../workflows/contract/failures';
import type { DigestOptions, ImageVolumeMarker, ParentDescription, ParentDigest, WriteTarget } from '../backend';
import { isSameMarker } from '../markers';
import { createPacedHash } from '../paced-hash';
import { checkNotFull, withFailures, type RbdContext } from './context';
import type { RbdCluster, RbdImage } from './cluster';
import { untilDone } from './until-done';
import { MARKER_KEY, SEAL } from './names';
import { checkClaim } from './place';
import { removeAttempts } from './remove';
import { renameUnlessTaken } from './rename';
import { parseImageMarker } from './markers';

/** See `VolumeBackend.describeParent`. Clones are of the snapshot, which nobody can write: an image that was written since is as good. */
export async function describeParent(context: RbdContext, name: string): Promise<ParentDescription> {
  const { cluster, names } = context;
  const image = await cluster.describeImage(names.imageOf(name), [MARKER_KEY]);
  if (image === undefined) {
    await checkClaim(context);
    return { kind: 'absent' };
  }
  const stored = parseImageMarker(image.metadata[MARKER_KEY]);
  if (stored === undefined) return { kind: 'unsealed' };
  if (!image.snapshots.includes(SEAL)) return { kind: 'changed', found: `its snapshot ${SEAL} is gone` };
  const { virtualBytes } = stored.marker;
  if (image.sizeBytes !== virtualBytes)
    return { kind: 'changed', found: `it has ${image.sizeBytes} bytes, not ${virtualBytes}` };
  return { kind: 'sealed', virtualBytes, realBytes: stored.realBytes };
}

export async function getSealedParent(context: RbdContext, name: string) {
  const found = await describeParent(context, name);
  if (found.kind === 'sealed') return found;
  throw new Failure('ParentUnusable', {
    backend: context.name,
    parent: name,
    found: found.kind === 'changed' ? found.found : found.kind,
  });
}

/**
 * See `VolumeBackend.sealImageVolume`. The snapshot first, then the marker, then the name: an image-volume is there when its name is. A writer that was
 * lost cannot change it: each attempt has an image of its own, and its clones read the snapshot. An attempt that is a clone itself stays one where its
 * clones may be so deep.
 */
export async function sealImageVolume(
  context: RbdContext,
  target: WriteTarget,
  marker: ImageVolumeMarker,
): Promise<{ virtualBytes: number; realBytes: number }> {
  const { names } = context;
  const name = names.imageOf(marker.name);
  const attempt = names.attemptOf({ kind: 'image-volume', name: marker.name, attempt: target.attempt });
  return await withFailures(
    context,
    async () => {
      await checkClaim(context);
      await untilDone(async () => {
        if ((await describeParent(context, marker.name)).kind !== 'absent') return true;
        await sealAttempt(context, attempt, marker);
        await renameUnlessTaken(context, attempt, name);
        return true;
      });
      const sealed = await getSealedParent(context, marker.name);
      context.sealedBytes.set(marker.name, sealed.virtualBytes);
      await removeAttempts(context, { kind: 'image-volume', name: marker.name });
      return { virtualBytes: sealed.virtualBytes, realBytes: sealed.realBytes };
    },
    marker.virtualBytes,
  );
}

async function sealAttempt(context: RbdContext, attempt: string, marker: ImageVolumeMarker): Promise<void> {
  const { name, cluster } = context;
  const image = await cluster.describeImage(attempt, [MARKER_KEY]);
  if (image === undefined)
    throw new Failure('BackendUnavailable', {
      backend: name,
      cause: `the attempt at ${marker.name} was removed meanwhile`,
    });
  if (image.sizeBytes !== marker.virtualBytes)
    throw new Failure('ParentUnusable', {
      backend: name,
      parent: marker.name,
      found: `written with ${image.sizeBytes} bytes, not ${marker.virtualBytes}`,
    });
  await checkNotFull(context, marker.virtualBytes);
  if (!image.snapshots.includes(SEAL)) {
    // Its clones read through it, and through all that it is a clone of. It is flattened before it has any.
    if (image.parent !== undefined && (await cluster.countAncestors(attempt)) + 1 > context.maxCloneDepth)
      await cluster.flatten(attempt, {});
    await cluster.createSnapshot(attempt, SEAL);
  }
  const stored = parseImageMarker(image.metadata[MARKER_KEY]);
  if (stored !== undefined && isSameMarker(stored.marker, marker)) return;
  // It will hold itself the bytes that it reads from others, such as the image service's store.
  const realBytes =
    image.parent === undefined ? await cluster.usedBytes(attempt, SEAL) : await readBytesOf(cluster, attempt, image);
  await cluster.completeImage(attempt, {
    sizeBytes: image.sizeBytes,
    metadata: { [MARKER_KEY]: JSON.stringify({ marker, realBytes }) },
  });
}

/** Bytes of the objects that a clone reads, its own and those of others. */
async function readBytesOf({ listExtents }: RbdCluster, name: string, { sizeBytes }: RbdImage): Promise<number> {
  const extents = await listExtents?.(name, SEAL, { offset: 0, lengthBytes: sizeBytes });
  return extents === undefined ? sizeBytes : extents.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
}

/** See `VolumeBackend.digestParent`: of the snapshot, which is what clones read. */
export async function digestParent(
  context: RbdContext,
  name: string,
  options: DigestOptions,
): Promise<ParentDigest | undefined> {
  const { cluster, names } = context;
  if ((await describeParent(context, name)).kind === 'absent') return undefined;
  const { virtualBytes } = await getSealedParent(context, name);
  const hash = createPacedHash(options, virtualBytes);
  await cluster.read(names.imageOf(name), {
    snapshot: SEAL,
    signal: options.signal,
    consume: (bytes) => hash.update(bytes),
  });
  return hash.digest();
}
