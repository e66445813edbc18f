import type { VolumeId } from '../../../workflows/contract/ids';
import type { GrownVolume } from '../backend';
import { checkSize } from '../sizes';
import { isCephError } from './ceph-error';
import { checkNotFull, withFailures, type RbdContext } from './context';
import { isIncompleteClone } from './half-made';
import { MARKER_KEY } from './names';
import { checkClaim } from './place';
import { findOpener, MAX_IMAGE_BYTES } from './volume';

/** See `VolumeBackend.ensureGrown`. A client that has the image open is told by the cluster. The marker keeps the size that the volume was made with. */
export async function ensureGrown(context: RbdContext, volumeId: VolumeId, sizeBytes: number): Promise<GrownVolume> {
  const { cluster, names } = context;
  checkSize(sizeBytes, { leastBytes: 512, mostBytes: MAX_IMAGE_BYTES });
  const name = names.volumeOf(volumeId);
  return await withFailures(
    context,
    async () => {
      const image = await cluster.describeImage(name, [MARKER_KEY]);
      if (image === undefined || isIncompleteClone(context, name, image)) {
        await checkClaim(context);
        return { kind: 'absent' };
      }
      const { sizeBytes: formerSizeBytes } = image;
      const openedBy = await findOpener(context, volumeId);
      if (formerSizeBytes < sizeBytes) {
        await checkNotFull(context, 0);
        try {
          await cluster.completeImage(name, { sizeBytes, metadata: {} });
        } catch (error) {
          if (isCephError(error, 'absent')) return { kind: 'absent' };
          throw error;
        }
      }
      return { kind: 'present', formerSizeBytes, sizeBytes: Math.max(formerSizeBytes, sizeBytes), openedBy };
    },
    sizeBytes,
  );
}
