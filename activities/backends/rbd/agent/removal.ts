import { constants } from 'node:os';
import { unlessAbsent } from '../../../../lib/errno';
import type { Handle } from '../bindings';
import { CephError, isCephError } from '../ceph-error';
import { describeImage, isProtected, snapshotNames } from './describe-image';
import { withImage } from './image-handles';
import { calls, handle } from './session';

/** One that is protected, as Cinder's are, is so no longer. @throws CephError `busy` where clones of the old format need it. */
export async function removeOneSnapshot(image: Handle, snapshot: string): Promise<void> {
  try {
    await calls.removeSnapshot(image, snapshot);
  } catch (error) {
    if (!isCephError(error, 'busy') || !(await isProtected(image, snapshot))) throw error;
    await calls.unprotectSnapshot(image, snapshot);
    await calls.removeSnapshot(image, snapshot);
  }
}

/** Those that were deleted already and wait for their last clone are listed too, and have no name by which they could be removed. */
async function removeSnapshots(image: Handle): Promise<void> {
  for (const snapshot of await snapshotNames(image)) await unlessAbsent(removeOneSnapshot(image, snapshot));
}

export async function removeWithSnapshots(io: Handle, name: string): Promise<void> {
  try {
    await calls.remove(io, name);
  } catch (error) {
    if (!isCephError(error, 'not-empty')) throw error;
    await withImage(name, { writable: true }, async (image) => {
      await removeSnapshots(image);
    });
    await calls.remove(io, name);
  }
}

/** The library says ENOENT also where a step on the way to the trash went wrong, such as one that timed out. */
export async function checkRemoved(name: string): Promise<void> {
  if ((await describeImage(name, [])) !== undefined) throw new CephError('rbd_remove', constants.errno.ETIMEDOUT);
}

export async function removeFromTrash(io: Handle, id: string): Promise<void> {
  try {
    await calls.removeFromTrash(io, id, true);
  } catch (error) {
    if (!isCephError(error, 'not-empty')) throw error;
    const image = await handle((out) => calls.openById(io, id, out, null));
    try {
      await removeSnapshots(image);
    } finally {
      await calls.close(image);
    }
    await calls.removeFromTrash(io, id, true);
  }
}
