import { KiB } from '../../../workflows/contract/bytes';
import { need, giveWay, type Range, type Steps } from './steps';
import type { ImageRefusal } from './verdict';

/** Tables this close together are read at once. */
const MAX_GAP_BYTES = 64 * KiB;
/** Bytes that a walk reads and examines in one piece: a few milliseconds of work at most. */
export const TABLE_PIECE_BYTES = 256 * KiB;
/** Offsets that are sorted, or merged, before others have their turn. */
const SORTED_AT_ONCE = 16_384;

/** How tables lie in the file. */
export interface TableLayout {
  entryBytes: number;
  /** Where a table that reaches beyond the file's end goes on with zeros, as QEMU reads it. Default: it may not reach beyond. */
  fileBytes?: number;
}

/** Sees whole entries. Its refusal ends the walk. @param offset of `entries` in the file. */
type Visit = (entries: Buffer, offset: number) => ImageRefusal | undefined;

/** Walks a table piece by piece. */
export function* walkTable(
  table: Range,
  { entryBytes, fileBytes = Infinity }: TableLayout,
  visit: Visit,
): Steps<ImageRefusal | undefined> {
  const step = TABLE_PIECE_BYTES - (TABLE_PIECE_BYTES % entryBytes);
  for (let done = 0; done < table.lengthBytes; done += step) {
    const offset = table.offset + done;
    const piece = { offset, lengthBytes: Math.min(step, table.lengthBytes - done) };
    const refusal = visit(yield* needPadded(piece, fileBytes), offset);
    if (refusal) return refusal;
  }
  return undefined;
}

/** Walks many tables of `tableBytes` each; small neighbours are read together. @param offsets ascending, not overlapping. */
export function* walkTables(
  offsets: Float64Array,
  { tableBytes, ...layout }: TableLayout & { tableBytes: number },
  visit: Visit,
): Steps<ImageRefusal | undefined> {
  const { fileBytes = Infinity } = layout;
  for (let first = 0; first < offsets.length;) {
    const start = offsets[first] ?? 0;
    const next = findFarther(offsets, { first, tableBytes });
    const end = (offsets[next - 1] ?? 0) + tableBytes;
    if (tableBytes > TABLE_PIECE_BYTES) {
      const refusal = yield* walkTable({ offset: start, lengthBytes: tableBytes }, layout, visit);
      if (refusal) return refusal;
    } else {
      const bytes = yield* needPadded({ offset: start, lengthBytes: end - start }, fileBytes);
      for (const offset of offsets.subarray(first, next)) {
        const refusal = visit(bytes.subarray(offset - start, offset - start + tableBytes), offset);
        if (refusal) return refusal;
      }
    }
    first = next;
  }
  return undefined;
}

/** @returns the index of the first table that is not read together with the one at index `first`. */
function findFarther(offsets: Float64Array, { first, tableBytes }: { first: number; tableBytes: number }): number {
  const start = offsets[first] ?? 0;
  let next = first + 1;
  for (let offset = offsets[next]; offset !== undefined; offset = offsets[next]) {
    const gapBytes = offset - (offsets[next - 1] ?? 0) - tableBytes;
    if (gapBytes > MAX_GAP_BYTES || offset + tableBytes - start > TABLE_PIECE_BYTES) break;
    next++;
  }
  return next;
}

/** @returns the bytes of the range; zeros where the file has ended. */
function* needPadded({ offset, lengthBytes }: Range, fileBytes: number): Steps<Buffer> {
  const known = Math.min(lengthBytes, Math.max(fileBytes - offset, 0));
  if (known === lengthBytes) return yield* need(offset, lengthBytes);
  const padded = Buffer.alloc(lengthBytes);
  if (known > 0) (yield* need(offset, known)).copy(padded);
  return padded;
}

/** Areas of one size that a table names in the file. */
export interface Areas {
  /** @returns false when the file has no room for so many that do not overlap. */
  add(offset: number): boolean;
  /** @returns the areas, ascending, or the first that reaches into the one before it. */
  sort(): Steps<{ offsets: Float64Array } | { overlapping: number }>;
}

/** Its memory is bounded by the file's own size. */
export function createAreas(areaBytes: number, { fileBytes }: { fileBytes: number }): Areas {
  const room = Math.ceil(fileBytes / areaBytes);
  const runs: Float64Array[] = [];
  let count = 0;
  return {
    add(offset) {
      const within = count % SORTED_AT_ONCE;
      if (within === 0) runs.push(new Float64Array(Math.min(SORTED_AT_ONCE, room - count)));
      const run = runs.at(-1);
      if (run !== undefined) run[within] = offset;
      count += 1;
      return count <= room;
    },
    *sort() {
      const sorted = yield* sortInTurns(runs, count);
      for (let index = 1; index < sorted.length; index++) {
        if (index % SORTED_AT_ONCE === 0) yield* giveWay();
        const offset = sorted[index] ?? 0;
        if (offset - (sorted[index - 1] ?? 0) < areaBytes) return { overlapping: offset };
      }
      return { offsets: sorted };
    },
  };
}

/** Merge sort, bottom up, with pauses. @param runs all but the last hold `SORTED_AT_ONCE` numbers. @returns `count` of them, ascending. */
function* sortInTurns(runs: Float64Array[], count: number): Steps<Float64Array> {
  let from: Float64Array = new Float64Array(count);
  for (const [index, run] of runs.entries()) {
    if (index > 0) yield* giveWay();
    const start = index * SORTED_AT_ONCE;
    from.set(run.subarray(0, count - start).sort(), start);
  }
  let to: Float64Array = new Float64Array(runs.length > 1 ? count : 0);
  for (let run = SORTED_AT_ONCE; run < count; run *= 2) {
    for (let start = 0; start < count; start += 2 * run) yield* mergeRuns(from, to, { start, run });
    [from, to] = [to, from];
  }
  return from;
}

/** Merges the two ascending runs of `from` that begin at `start` into the same place of `to`. */
function* mergeRuns(from: Float64Array, to: Float64Array, { start, run }: { start: number; run: number }): Steps<void> {
  const [middle, end] = [Math.min(start + run, from.length), Math.min(start + 2 * run, from.length)];
  let [left, right] = [start, middle];
  for (let at = start; at < end; at++) {
    const takesLeft = left < middle && (right >= end || (from[left] ?? 0) <= (from[right] ?? 0));
    to[at] = (takesLeft ? from[left++] : from[right++]) ?? 0;
    if ((at - start) % SORTED_AT_ONCE === SORTED_AT_ONCE - 1) yield* giveWay();
  }
}

export function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value));
}
