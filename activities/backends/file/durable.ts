import { constants } from 'node:fs';
import { link, open, rename, unlink } from 'node:fs/promises';
import { unlessAbsent, hasCode } from '../../../lib/errno';
import { writeAll, syncPath } from '../../../lib/files';
import { sharingNext } from '../../../lib/sharing-next';

/** Bytes to write, and where; everything else of `fileBytes` is a hole. */
export interface FileContent {
  writes: { position: number; bytes: Buffer }[];
  fileBytes: number;
}

/**
 * Writes a new file of mode 0600 at `path`, whole and durable; its name is not durable until the directory is synced.
 * When it cannot be written, nothing stays.
 */
export async function writeNewFile(path: string, content: FileContent): Promise<void> {
  const file = await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    for (const { position, bytes } of content.writes) await writeAll(file, bytes, position);
    await file.truncate(content.fileBytes);
    await file.sync();
  } catch (error) {
    await removeFile(path);
    throw error;
  } finally {
    await file.close();
  }
}

/**
 * Gives a durable temporary file its final name, unless the name is taken: nothing that is visible is ever replaced.
 * A link and an unlink, because Node has no rename that refuses an existing target. A kill between them leaves a second name, a partial, of the same file.
 * @returns whether this call published it. The temporary name is gone in both cases.
 */
export async function publishFile(temporary: string, final: string): Promise<boolean> {
  try {
    await link(temporary, final);
  } catch (error) {
    if (!hasCode(error, 'EEXIST')) throw error;
    await removeFile(temporary);
    return false;
  }
  await removeFile(temporary);
  return true;
}

/** Renames over whatever has the final name: for markers, which say the same whoever writes them. */
export async function replaceFile(temporary: string, final: string): Promise<void> {
  await rename(temporary, final);
}

/** @returns whether there was something to remove. */
export async function removeFile(path: string): Promise<boolean> {
  return (await unlessAbsent(unlink(path).then(() => true))) ?? false;
}

/** Makes all changes of a directory so far durable: many clones at once cost two flushes, not one each. */
export const syncDirectory = sharingNext(syncPath);
