import Table from 'cli-table3';
import { visibleText } from '../../../workflows/contract/visible-text';
import type { Lines } from './print';

/** Rows under a head, without lines around each: as wide as its content, fit to be cut by `awk`. @returns its lines. */
export function formatTable(head: string[], rows: Lines[][]): string[] {
  const table = new Table({
    head,
    chars: plain,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
  });
  table.push(...rows.map((row) => row.map(toCell)));
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd());
}

/** One record: a field a line. What is undefined is left out. @returns its lines. */
export function formatRecord(fields: Record<string, string | undefined>): string[] {
  const known = Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined);
  const width = Math.max(0, ...known.map(([name]) => name.length));
  return known.map(([name, value]) => `${name.padEnd(width)}  ${visibleText(value)}`);
}

function toCell(lines: Lines): string {
  return [lines].flat().map(visibleText).join('\n');
}

const plain = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '',
};
