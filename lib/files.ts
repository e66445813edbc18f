import { randomUUID } from 'node:crypto';
import { renameSync, writeFileSync } from 'node:fs';
import { open, stat, statfs, type FileHandle } from 'node:fs/promises';
import { unlessAbsent } from './errno';

/** In which `stat` counts what a file takes up, whatever the file system's own are. */
export const STAT_BLOCK_BYTES = 512;

export async function pathExists(path: string): Promise<boolean> {
  return (await unlessAbsent(stat(path))) !== undefined;
}

/** Replaces the file as a whole: a reader sees the old text or the new one. Mode 0600 by default; not durable. */
export function writeFileAtomically(path: string, text: string, mode = 0o600): void {
  const temporary = `${path}.${randomUUID()}`;
  writeFileSync(temporary, text, { mode, flag: 'wx' });
  renameSync(temporary, path);
}

/** Of one write: larger ones make the kernel search memory for larger pieces, which can take longer than the copy. */
const MOST_WRITE_BYTES = 2 ** 20;

/** Writes all of `bytes`: one write may take a part only, just before there is no space for the rest. */
export async function writeAll(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const lengthBytes = Math.min(bytes.length - done, MOST_WRITE_BYTES);
    done += (await file.write(bytes, done, lengthBytes, position + done)).bytesWritten;
  }
}

/** Makes a file's bytes, or the names in a directory, durable. */
export async function syncPath(path: string): Promise<void> {
  await using file = await open(path, 'r');
  await file.sync();
}

/** @returns the space of the file system of `path`. Free is what this user may fill. */
export async function fileSystemSpace(path: string): Promise<{ totalBytes: number; freeBytes: number }> {
  const { blocks, bavail, bsize } = await statfs(path);
  return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
}

/** For a message that somewhere is too little space. @returns 0 where it cannot be told. */
export async function freeBytesOrZero(path: string): Promise<number> {
  try {
    return (await fileSystemSpace(path)).freeBytes;
  } catch {
    return 0;
  }
}
