import Table from 'cli-table3';

/** Rows under a head, without lines around each: as wide as its content, fit to be cut by `awk`. */
export function formatTable(head: string[], rows: string[][]): string {
  const table = new Table({
    head,
    chars: plain,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
  });
  table.push(...rows);
  return withoutTrailingSpaces(table.toString());
}

/** One record: a field a line. What is undefined is left out. */
export function formatRecord(fields: Record<string, string | undefined>): string {
  const known = Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined);
  const width = Math.max(0, ...known.map(([name]) => name.length));
  return known.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n');
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

function withoutTrailingSpaces(text: string): string {
  return text
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}
