import { setTimeout as delay } from 'node:timers/promises';
import { isCephError } from './ceph-error';
import { idObjectOf } from './cluster';
import type { RbdContext } from './context';

/** Longer than librbd takes between two steps of a rename: one that is still half done then was killed. */
const RENAMING_MS = 3000;

/** Publishes what an attempt has written. Where another has taken the name, the attempt stays as it is. */
export async function renameUnlessTaken({ cluster }: RbdContext, attempt: string, name: string): Promise<void> {
  try {
    await cluster.renameImage(attempt, name);
  } catch (error) {
    if (!isCephError(error, 'exists')) throw error;
  }
}

/** Removes the image of an attempt at `name`. Where that name has it already, its rename was killed in its middle, and is finished. */
export async function removeAttempt(context: RbdContext, attempt: string, name: string): Promise<void> {
  if (!(await finishRename(context, attempt, name))) await context.cluster.removeImage(attempt);
}

/**
 * Finishes a rename from one of two names to the other that was killed in its middle: the image has `name` then. A rename gives the image its new name
 * first, then lists it under that in place of the old one, then takes the old one from it. Source: librbd, RenameRequest.
 * @returns whether there was one.
 */
export async function finishRename(context: RbdContext, attempt: string, name: string): Promise<boolean> {
  const { cluster } = context;
  if (!(await haveOneImage(context, attempt, name))) return false;
  await delay(RENAMING_MS);
  if (!(await haveOneImage(context, attempt, name))) return false;
  if (!(await cluster.listImages()).includes(attempt)) {
    await cluster.removeObject(idObjectOf(attempt));
  } else {
    await cluster.removeObject(idObjectOf(name));
    await cluster.renameImage(attempt, name);
  }
  return true;
}

async function haveOneImage({ cluster }: RbdContext, attempt: string, name: string): Promise<boolean> {
  const [old, own] = await Promise.all([attempt, name].map((image) => cluster.readObject(idObjectOf(image))));
  return old !== undefined && own !== undefined && old.equals(own);
}
