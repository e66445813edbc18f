import { visibleText } from '../../../workflows/contract/visible-text';
import type { Lines } from './print';
import { paint } from './paint';
import { shortIdsIn } from './short-ids';
import { cutTo, terminalColumns, widthOf, wrapTo } from './width';

const GAP = '  ';

/** How a table gives way on a terminal that is too narrow: texts are cut, the last column is broken at spaces, or nothing. */
export type Overflow = 'cut' | 'wrap' | 'none';

/**
 * Rows under a head, without lines around each: as wide as its content, fit to be cut by `awk`. On a terminal no line is
 * wider than that. @returns its lines.
 */
export function formatTable(
  head: string[],
  rows: Lines[][],
  { overflow = 'wrap', columns = terminalColumns() }: { overflow?: Overflow; columns?: number } = {},
): string[] {
  const cells = [head, ...rows].map((row) => row.map((lines) => [lines].flat().map(visibleText)));
  const room = overflow === 'none' ? undefined : columns;
  if (room !== undefined) shortenIdsOf(cells, room);
  if (overflow === 'wrap' && room !== undefined) wrapLast(cells, room);
  const widths = shrink(cells, room);
  const [heads = [], ...others] = cells;
  return [
    ...layRow(heads, widths),
    ...others.flatMap((row) => layRow(row, widths, (text, column) => paint(head[column] ?? '', text))),
  ];
}

function widthsOf(cells: string[][][]): number[] {
  return (cells[0] ?? []).map((_, column) => Math.max(...cells.flatMap((row) => row[column]?.map(widthOf) ?? [])));
}

function totalOf(widths: readonly number[]): number {
  return widths.reduce((sum, width) => sum + width + GAP.length, -GAP.length);
}

/** Where a table is too wide, ids are their first digits, which commands take. */
function shortenIdsOf(cells: string[][][], columns: number): void {
  if (totalOf(widthsOf(cells)) <= columns) return;
  widthsOf(cells).forEach((_, column) => {
    const short = shortIdsIn(cells.flatMap((row) => row[column] ?? []));
    for (const row of cells) row[column] = (row[column] ?? []).map(short);
  });
}

/** A text is broken into lines of this many columns at least. */
const LEAST_WRAPPED = 16;

/** Breaks what is in the last column where the others leave it no room. */
function wrapLast(cells: string[][][], columns: number): void {
  const others = widthsOf(cells).slice(0, -1);
  const width = Math.max(LEAST_WRAPPED, columns - totalOf(others) - GAP.length);
  for (const row of cells) row.push((row.pop() ?? []).flatMap((line) => wrapTo(width, line)));
}

/** Of a column that gives way; below it a table wraps. */
const LEAST_WIDTH = 8;

/** `2026-01-31 14:05:09 UTC`: a time that is cut is none. */
const instant = /^\d{4}-\d\d-\d\d \d\d:\d\d(?::\d\d)? UTC$/;

/** Takes from the widest column until all fit. @returns widths. */
function shrink(cells: string[][][], columns = Infinity): number[] {
  const widths = widthsOf(cells);
  const mayShrink = widths.map((_, column) => !cells.some((row) => row[column]?.some((text) => instant.test(text))));
  for (let over = totalOf(widths) - columns; over > 0; over -= 1) {
    const shrinkable = widths.map((width, column) => (mayShrink[column] ? width : 0));
    const widest = shrinkable.indexOf(Math.max(...shrinkable));
    if ((shrinkable[widest] ?? 0) <= LEAST_WIDTH) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
  return widths;
}

type Paint = (text: string, column: number) => string;

/** @returns as many lines as the cell with the most of them. */
function layRow(cells: string[][], widths: number[], painted: Paint = (text) => text): string[] {
  const height = Math.max(...cells.map((lines) => lines.length));
  return Array.from({ length: height }, (_, line) =>
    cells
      .map((lines, column) => {
        const text = cutTo(widths[column] ?? 0, lines[line] ?? '');
        const isLast = column === cells.length - 1;
        return painted(text, column) + (isLast ? '' : ' '.repeat((widths[column] ?? 0) - widthOf(text)));
      })
      .join(GAP)
      .trimEnd(),
  );
}

/** One record: a field a line, or several on a terminal that is too narrow. Undefined fields are left out. @returns its lines. */
export function formatRecord(
  fields: Record<string, string | undefined>,
  { columns = terminalColumns() }: { columns?: number } = {},
): string[] {
  const known = Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined);
  const width = Math.max(0, ...known.map(([name]) => name.length));
  const room = columns === undefined ? Infinity : Math.max(LEAST_WRAPPED, columns - width - GAP.length);
  return known.flatMap(([name, value]) =>
    wrapTo(room, visibleText(value)).map((line, at) => `${(at === 0 ? name : '').padEnd(width)}${GAP}${line}`),
  );
}
