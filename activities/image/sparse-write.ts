import type { FileHandle } from 'node:fs/promises';
import { KiB } from '../../workflows/contract/bytes';

/** What is looked at for zeros as a whole: well above a file system's block, so that a file does not fall into crumbs. */
const GRAIN_BYTES = 64 * KiB;
const zeros = Buffer.alloc(GRAIN_BYTES);

/** Appends `view` at `position`, the file's end: runs of zeros become holes, and the file is as long as if they had been written. */
export async function appendSparse(
  handle: FileHandle,
  { view, position }: { view: Buffer; position: number },
): Promise<void> {
  let dataFrom = 0;
  for (let at = 0; at < view.length; at += GRAIN_BYTES) {
    const end = Math.min(at + GRAIN_BYTES, view.length);
    if (!isZero(view.subarray(at, end))) continue;
    await writeAll(handle, { view: view.subarray(dataFrom, at), position: position + dataFrom });
    dataFrom = end;
  }
  if (dataFrom === view.length) await handle.truncate(position + view.length);
  else await writeAll(handle, { view: view.subarray(dataFrom), position: position + dataFrom });
}

function isZero(grain: Buffer): boolean {
  return grain[0] === 0 && zeros.compare(grain, 0, grain.length, 0, grain.length) === 0;
}

async function writeAll(handle: FileHandle, { view, position }: { view: Buffer; position: number }): Promise<void> {
  for (let written = 0; written < view.length;) {
    const { bytesWritten } = await handle.write(view, written, view.length - written, position + written);
    written += bytesWritten;
  }
}
