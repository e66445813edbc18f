import { open, truncate } from 'node:fs/promises';
import { Failure } from '../../../workflows/contract/failures';
import type { VolumeId } from '../../../workflows/contract/ids';
import { growQcow2, isLockRefused, isOpenInQemu } from '../../image/qemu-img';
import type { GrownVolume } from '../backend';
import { checkSize } from '../sizes';
import type { FileBackendContext } from './context';
import { checkClaim } from './directory';
import { imagePaths } from './layout';
import { MAX_OVERLAY_BYTES } from './qcow2-overlay';
import { findVolumeFile, readVolume } from './volume';

/**
 * See `VolumeBackend.ensureGrown`. A raw file grows below whoever has it open. Only QEMU itself can grow an overlay that it has open: its locks keep the
 * tool out. The marker keeps the size that the volume was made with.
 */
export async function ensureGrown(
  context: FileBackendContext,
  volumeId: VolumeId,
  sizeBytes: number,
): Promise<GrownVolume> {
  checkSize(sizeBytes, { leastBytes: 512 });
  const volume = await findVolumeFile(context, volumeId);
  if (volume === undefined) {
    await checkClaim(context);
    return { kind: 'absent' };
  }
  const { path, format } = volume;
  const { sizeBytes: formerSizeBytes, neededParent } = await readVolume(volume);
  const openedBy = (await isOpenInQemu(path)) ? 'a QEMU process' : undefined;
  if (formerSizeBytes < sizeBytes) {
    if (format === 'raw') await truncate(path, sizeBytes);
    else {
      checkSize(sizeBytes, { leastBytes: 512, mostBytes: MAX_OVERLAY_BYTES });
      if (openedBy !== undefined) throw inUse(volumeId);
      const parent = neededParent === undefined ? undefined : imagePaths(context.layout, neededParent).data;
      await growQcow2({ path, format, parent }, sizeBytes).catch((error: unknown) => {
        throw isLockRefused(error) ? inUse(volumeId) : error;
      });
    }
  }
  // Durable, whoever has grown it: one who was killed may not have come so far.
  await using file = await open(path, 'r+');
  await file.sync();
  return { kind: 'present', formerSizeBytes, sizeBytes: Math.max(formerSizeBytes, sizeBytes), openedBy };
}

function inUse(volumeId: VolumeId): Failure {
  return new Failure('VolumeInUse', { volumeId, by: 'a QEMU process' });
}
