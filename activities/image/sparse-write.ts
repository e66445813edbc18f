import type { FileHandle } from 'node:fs/promises';
import { KiB } from '../../workflows/contract/bytes';
import { writeAll } from '../../lib/files';

/** What is looked at for zeros as a whole: well above a file system's block, so that a file does not fall into crumbs. */
const GRAIN_BYTES = 64 * KiB;
const zeros = Buffer.alloc(GRAIN_BYTES);

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
    await writeAll(handle, view.subarray(dataFrom, at), position + dataFrom);
    dataFrom = end;
  }
  await writeAll(handle, view.subarray(dataFrom), position + dataFrom);
  return { endsWithZeros: dataFrom === view.length };
}

function isZero(grain: Buffer): boolean {
  return grain[0] === 0 && zeros.compare(grain, 0, grain.length, 0, grain.length) === 0;
}
