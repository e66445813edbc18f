import { KiB } from '../../../workflows/contract/bytes';
import { MAX_RANGE_BYTES, need, windows, type Range, type Steps } from './steps';
import type { Refusal } from './verdict';

/** Tables this close together are read at once. */
const MAX_GAP_BYTES = 64 * KiB;

/** Walks a table whose entries have `entryBytes`, piece by piece. @param visit sees whole entries; its refusal ends the walk. @param visit.offset of `entries` in the file. */
export function* walkTable(
  table: Range,
  entryBytes: number,
  visit: (entries: Buffer, offset: number) => Refusal | undefined,
): Steps<Refusal | undefined> {
  for (const { offset, lengthBytes } of windows(table, entryBytes)) {
    const refusal = visit(yield* need(offset, lengthBytes), offset);
    if (refusal) return refusal;
  }
  return undefined;
}

/** Reads many tables of `tableBytes` each, neighbours together. @param offsets ascending, not overlapping. @param visit its refusal ends the reading. */
export function* walkTables(
  offsets: readonly number[],
  tableBytes: number,
  visit: (table: Buffer, offset: number) => Refusal | undefined,
): Steps<Refusal | undefined> {
  for (let first = 0; first < offsets.length;) {
    const start = offsets[first] ?? 0;
    let end = start + tableBytes;
    let next = first + 1;
    for (
      let offset = offsets[next];
      offset !== undefined && offset - end <= MAX_GAP_BYTES && offset + tableBytes - start <= MAX_RANGE_BYTES;
      offset = offsets[next]
    ) {
      end = offset + tableBytes;
      next++;
    }
    const bytes = yield* need(start, end - start);
    for (const offset of offsets.slice(first, next)) {
      const refusal = visit(bytes.subarray(offset - start, offset - start + tableBytes), offset);
      if (refusal) return refusal;
    }
    first = next;
  }
  return undefined;
}

/** Sorts `offsets` of areas of `areaBytes` each. @returns the first that reaches into the one before it. */
export function sortAndFindOverlap(offsets: number[], areaBytes: number): number | undefined {
  offsets.sort((a, b) => a - b);
  return offsets.find((offset, index) => index > 0 && offset - (offsets[index - 1] ?? 0) < areaBytes);
}

export function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value));
}
