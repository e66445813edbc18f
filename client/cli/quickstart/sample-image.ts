import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { MiB } from '../../../workflows/contract/bytes';

const VIRTUAL_BYTES = 256 * MiB;
const DATA_BYTES = 48 * MiB;
const PIECE_BYTES = 4 * MiB;
const TIMEOUT_MS = 60_000;

/** A qcow2 disk of 256 MiB with 48 MiB of data that no other run has, so that its first create is always a miss. */
export async function makeSampleImage(directory: string, name: string): Promise<string> {
  const rawPath = join(directory, `${name}.raw`);
  const file = await open(rawPath, 'wx', 0o600);
  try {
    await file.truncate(VIRTUAL_BYTES);
    // A megabyte in, as a first partition begins.
    for (let offset = 0; offset < DATA_BYTES; offset += PIECE_BYTES)
      await file.write(randomBytes(PIECE_BYTES), 0, PIECE_BYTES, MiB + offset);
  } finally {
    await file.close();
  }
  const path = join(directory, `${name}.qcow2`);
  await promisify(execFile)('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', rawPath, path], {
    timeout: TIMEOUT_MS,
  });
  return path;
}
