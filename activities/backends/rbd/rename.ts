import { setTimeout as delay } from 'node:timers/promises';
import { isCephError } from './ceph-error';
import { idObjectOf } from './cluster';
import type { RbdContext } from './context';

/** Longer than librbd takes between two steps of a rename: what is still half done then was killed. */
const RENAMING_MS = 3000;

/** Publishes what an attempt has written. Where another has taken the name, the attempt stays as it is. */
export async function renameUnlessTaken({ cluster }: RbdContext, attempt: string, name: string): Promise<void> {
  try {
    await cluster.renameImage(attempt, name);
  } catch (error) {
    if (!isCephError(error, 'exists')) throw error;
  }
}

/** Removes the image of an attempt at `name`, or finishes the rename that was killed in its middle: then it is what `name` stands for already. */
export async function removeAttempt(context: RbdContext, attempt: string, name: string): Promise<void> {
  const { cluster } = context;
  if (await haveOneImage(context, attempt, name)) {
    await delay(RENAMING_MS);
    if (await haveOneImage(context, attempt, name)) {
      await cluster.removeObject(idObjectOf(name));
      return await cluster.renameImage(attempt, name);
    }
  }
  await cluster.removeImage(attempt);
}

/** A rename gives the image its new name first, then lists it under that, then takes the old one from it. Source: librbd, RenameRequest. */
async function haveOneImage({ cluster }: RbdContext, attempt: string, name: string): Promise<boolean> {
  const [old, own] = await Promise.all([attempt, name].map((image) => cluster.readObject(idObjectOf(image))));
  return old !== undefined && own !== undefined && old.equals(own) && (await cluster.listImages()).includes(attempt);
}
