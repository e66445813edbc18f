/** The one document of a `--json` run, or what a person reads: all that goes to stdout. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

/** For people only: never part of what a program reads. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}
