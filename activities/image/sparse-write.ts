import type { FileHandle } from 'node:fs/promises';
import { KiB, MiB } from '../../workflows/contract/bytes';

/** What is looked at for zeros as a whole: well above a file system's block, so that a file does not fall into crumbs. */
const GRAIN_BYTES = 64 * KiB;
const zeros = Buffer.alloc(GRAIN_BYTES);
/** Of one write: larger ones make the kernel look for memory in larger pieces, which can take longer than the copy. */
const MOST_WRITE_BYTES = MiB;

/** Appends `view` at `position`, the file's end: runs of zeros become holes, and the file is as long as if they had been written. */
export async function appendSparse(
  handle: FileHandle,
  { view, position }: { view: Buffer; position: number },
): Promise<void> {
  const { endsWithZeros } = await writeSparse(handle, { view, position });
  if (endsWithZeros) await handle.truncate(position + view.length);
}

/** Writes `view` at `position` of a file that reads as zeros there: runs of zeros stay the holes that they are. */
export async function writeSparse(
  handle: FileHandle,
  { view, position }: { view: Buffer; position: number },
): Promise<{ endsWithZeros: boolean }> {
  let dataFrom = 0;
  for (let at = 0; at < view.length; at += GRAIN_BYTES) {
    const end = Math.min(at + GRAIN_BYTES, view.length);
    if (!isZero(view.subarray(at, end))) continue;
    await writeAll(handle, { view: view.subarray(dataFrom, at), position: position + dataFrom });
    dataFrom = end;
  }
  await writeAll(handle, { view: view.subarray(dataFrom), position: position + dataFrom });
  return { endsWithZeros: dataFrom === view.length };
}

function isZero(grain: Buffer): boolean {
  return grain[0] === 0 && zeros.compare(grain, 0, grain.length, 0, grain.length) === 0;
}

async function writeAll(handle: FileHandle, { view, position }: { view: Buffer; position: number }): Promise<void> {
  for (let written = 0; written < view.length;) {
    const lengthBytes = Math.min(view.length - written, MOST_WRITE_BYTES);
    const { bytesWritten } = await handle.write(view, written, lengthBytes, position + written);
    written += bytesWritten;
  }
}
