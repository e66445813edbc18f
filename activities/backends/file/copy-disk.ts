import { constants } from 'node:fs';
import { chmod, copyFile, stat } from 'node:fs/promises';
import { syncPath } from '../../../lib/files';
import { copyFileData } from '../../image/qemu-img';
import type { CopyOptions } from '../backend';
import { reflinkObstacleOf } from './clone-method';
import type { FileBackendContext } from './context';
import { writeNewFile } from './durable';

/**
 * Makes `target` a durable file with the bytes of `source`, mode 0600: a reflink where the file system has them, else a copy of what is no hole.
 * @throws as `copyFileData`.
 */
export async function copyDisk(
  context: FileBackendContext,
  { source, target }: { source: string; target: string },
  options: CopyOptions,
): Promise<void> {
  if (await reflink(source, target)) return;
  const { size: bytes } = await stat(source);
  await writeNewFile(target, { writes: [], fileBytes: bytes });
  await copyFileData({ source, target: { path: target, bytes }, backend: context.name, ...options });
}

async function reflink(source: string, target: string): Promise<boolean> {
  try {
    await copyFile(source, target, constants.COPYFILE_FICLONE_FORCE | constants.COPYFILE_EXCL);
  } catch (error) {
    if (reflinkObstacleOf(error) === undefined) throw error;
    return false;
  }
  await chmod(target, 0o600);
  await syncPath(target);
  return true;
}
