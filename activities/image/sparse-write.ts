import type { FileHandle } from 'node:fs/promises';
import { KiB } from '../../workflows/contract/bytes';
import { writeAll } from '../../lib/files';

/** Bytes that are checked for zeros as a whole: well above a file system's block, so that a file does not fall into crumbs. */
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
  const runs = dataRuns(view);
  for (const { start, end } of runs) await writeAll(handle, view.subarray(start, end), position + start);
  return { endsWithZeros: runs.at(-1)?.end !== view.length };
}

/** @returns the parts of `view` that are not zeros, by whole grains. */
export function dataRuns(view: Buffer): { start: number; end: number }[] {
  const runs: { start: number; end: number }[] = [];
  for (let start = 0; start < view.length; start += GRAIN_BYTES) {
    const end = Math.min(start + GRAIN_BYTES, view.length);
    if (isZero(view.subarray(start, end))) continue;
    const last = runs.at(-1);
    if (last?.end === start) last.end = end;
    else runs.push({ start, end });
  }
  return runs;
}

function isZero(grain: Buffer): boolean {
  return grain[0] === 0 && zeros.compare(grain, 0, grain.length, 0, grain.length) === 0;
}
