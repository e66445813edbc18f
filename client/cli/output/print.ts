import { visibleJson, visibleText } from '../../../workflows/contract/visible-text';
import { besidePaint, isPainted } from './paint';
import { terminalColumns, wrapTo } from './width';

/**
 * A line, or several. A line holds no line break: one in a name is shown as an escape, like every control character.
 */
export type Lines = string | readonly string[];

/** Prints for a person: on a terminal no line is wider than that, but for one that is indented, which may be a command to copy. */
export function print(lines: Lines): void {
  const columns = terminalColumns();
  // A table, which alone has colours, fits by itself.
  const stays = (line: string): boolean => columns === undefined || line.startsWith('  ') || isPainted(line);
  process.stdout.write(toText(lines, (line) => (stays(line) ? [line] : wrapTo(columns ?? Infinity, line))));
}

/** Prints text that is taken as it is: values, ids, and tables of all columns. */
export function printExact(lines: Lines): void {
  process.stdout.write(toText(lines));
}

export function printJson(value: unknown): void {
  process.stdout.write(`${visibleJson(JSON.stringify(value, null, 2))}\n`);
}

/** A document that has its line breaks and escapes already. */
export function printText(text: string): void {
  process.stdout.write(text);
}

/** For people only: never part of what a program reads. */
export function note(lines: Lines): void {
  process.stderr.write(toText(lines));
}

function toText(lines: Lines, fold = (line: string): string[] => [line]): string {
  return [lines]
    .flat()
    .flatMap((line) => fold(besidePaint(line, visibleText)))
    .map((line) => `${line}\n`)
    .join('');
}
