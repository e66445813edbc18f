import type { VolumeId } from '../../../workflows/contract/ids';
import { isOpenInQemu } from '../../image/qemu-img';
import type { FileBackendContext } from './context';
import { findVolumeFile } from './volume';

/** Asks by QEMU's own image locks, which reach across hosts where the file system's locks do. Starts a process: a delete is rare. */
export async function findOpener(context: FileBackendContext, volumeId: VolumeId): Promise<string | undefined> {
  const volume = await findVolumeFile(context, volumeId);
  const isOpen = volume !== undefined && (await isOpenInQemu(volume.path));
  return isOpen ? 'a QEMU process' : undefined;
}
