import { visibleJson, visibleText } from '../../../workflows/contract/visible-text';
import { besidePaint } from './paint';

/**
 * A line, or several. A line holds no line break: one in a name is shown as an escape, like every control character.
 */
export type Lines = string | readonly string[];

/** The one document of a `--json` run, or what a person reads: all that goes to stdout. */
export function print(lines: Lines): void {
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

function toText(lines: Lines): string {
  return [lines]
    .flat()
    .map((line) => `${besidePaint(line, visibleText)}\n`)
    .join('');
}
