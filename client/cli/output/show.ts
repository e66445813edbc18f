import { Option, type Command } from 'commander';
import { failureError } from '../../errors';
import { visibleText } from '../../../workflows/contract/visible-text';
import { fieldOf, formatCell, formatExact, headOf, plainValue } from './fields';
import { print, printExact, printJson, printText, type Lines } from './print';
import { shortenIds } from './short-ids';
import { formatRecord, formatTable } from './table';
import type * as yamlModule from './yaml';

/* The one way in which every verb prints its document. */

const outputFormats = ['table', 'wide', 'json', 'yaml', 'value', 'name'] as const;
type OutputFormat = (typeof outputFormats)[number];

export interface OutputOptions {
  output?: OutputFormat;
  /** The same as `-o json`. */
  json?: boolean;
  column?: string[];
}

/** Adds the options that say how a verb prints. */
export function withOutputOptions(command: Command): Command {
  return command
    .addOption(
      new Option('-o, --output <format>', 'how to print: wide is a table with all columns, name the ids alone')
        .choices(outputFormats)
        .default(undefined, 'table'),
    )
    .option('-c, --column <name>', 'print only this column, or field of --json; may be repeated', collect)
    .addOption(new Option('--json', 'the same as -o json: one document on stdout').conflicts('output'));
}

function collect(name: string, collected: string[] = []): string[] {
  return [...collected, name];
}

function formatOf({ output, json }: OutputOptions): OutputFormat {
  return json ? 'json' : (output ?? 'table');
}

/** @returns whether a program reads what is printed, so that nothing but the document may be. */
export function isForProgram(options: OutputOptions): boolean {
  return !['table', 'wide'].includes(formatOf(options));
}

/** A column: a field by its name in `--json`, or what is made of a row's fields. */
export type ListColumn<Row> = string | { name: string; head?: string; of?: (row: Row) => string };

/** How a document that holds a list is printed. */
export interface ListView<Row, Doc = object> {
  /** The field of the document that is the list. */
  list: string;
  /** The field that `-o name` prints. */
  id: string;
  columns: ListColumn<Row>[];
  /** Columns that `-o wide` adds. */
  more?: ListColumn<Row>[];
  /** Said in place of a table without rows: `no volumes`. */
  empty: string;
  /** Printed for people in place of the table alone, unless they choose columns. */
  text?: (doc: Doc, wide: boolean) => Lines;
}

/** How any other document is printed: as its fields, or as `text` for people. */
export interface RecordView<Doc> {
  /** The field that `-o name` prints. */
  id: string;
  /** For people in place of the fields, unless they choose some or want all (`-o wide`). */
  text?: (doc: Doc) => Lines;
  /** Fields that people do not see among the others, since `below` has them. */
  hidden?: readonly (keyof Doc & string)[];
  below?: (doc: Doc) => Lines;
}

/** Prints a document that holds a list. @throws ImageVolumeCacheError `InvalidRequest` for a column that there is not. */
export function showList<Row, Doc extends object>(doc: Doc, view: ListView<Row, Doc>, options: OutputOptions): void {
  const rows = fieldOf(doc, view.list) as Row[];
  const format = formatOf(options);
  if (format === 'json' || format === 'yaml') {
    const chosen = options.column && chooseColumns(view, options, rows);
    return printDocument(chosen ? { [view.list]: rows.map((row) => pick(row, chosen)) } : doc, format);
  }
  if (format === 'name') return printExact(rows.map((row) => plainValue(fieldOf(row, view.id))));
  const columns = chooseColumns(view, options, rows);
  if (format === 'value') return printText(rows.map((row) => `${toValues(row, columns)}\n`).join(''));
  const wide = format === 'wide';
  const say = wide ? printExact : print;
  if (view.text !== undefined && options.column === undefined) return say(view.text(doc, wide));
  say(describeRows(rows, columns, { empty: view.empty, wide }));
}

/** Prints a document that is one thing. @throws ImageVolumeCacheError `InvalidRequest` for a field that there is not. */
export function showRecord<Doc extends object>(doc: Doc, view: RecordView<Doc>, options: OutputOptions): void {
  const format = formatOf(options);
  const known = Object.entries(doc).flatMap(([name, value]) => (value === undefined ? [] : [name]));
  const chosen = options.column && chooseNames(options.column, known);
  if (format === 'json' || format === 'yaml') return printDocument(chosen ? pick(doc, chosen) : doc, format);
  if (format === 'name') return printExact(plainValue(fieldOf(doc, view.id)));
  const names = chosen ?? known;
  if (format === 'value') return printExact(names.flatMap((name) => linesOf(plainValue(fieldOf(doc, name)), name)));
  if (chosen === undefined && format === 'table' && view.text !== undefined) return print(view.text(doc));
  const { hidden = [] } = view;
  print(describeFields(doc, chosen ?? names.filter((name) => !hidden.some((other) => other === name))));
  if (chosen === undefined && view.below !== undefined) print(view.below(doc));
}

export type DocumentFormat = 'json' | 'yaml';

/** @returns the format of the one document that the arguments ask for, as far as they tell it before they are parsed. */
export function documentFormatIn(argv: readonly string[]): DocumentFormat | undefined {
  const given = argv.map(
    (arg, at) => /^(?:-o|--output=)(.+)/.exec(arg)?.[1] ?? (/^(?:-o|--output)$/.test(arg) && argv[at + 1]),
  );
  if (argv.includes('--json') || given.includes('json')) return 'json';
  return given.includes('yaml') ? 'yaml' : undefined;
}

export function printDocument(doc: unknown, format: DocumentFormat): void {
  if (format === 'json') return printJson(doc);
  // Loaded by who asks for it.
  const { toYaml }: typeof yamlModule = require('./yaml');
  printText(toYaml(doc));
}

/** @returns the lines of a table of `rows`; `empty` where there are none. */
export function describeRows<Row>(
  rows: readonly Row[],
  columns: readonly ListColumn<Row>[],
  { empty, wide = false }: { empty: string; wide?: boolean },
): string[] {
  if (rows.length === 0) return [empty];
  const heads = columns.map((column) => (typeof column !== 'string' && column.head) || headOf(nameOf(column)));
  const cells = rows.map((row) => columns.map((column) => cellOf(row, column, wide)));
  if (!wide) columns.forEach((column, at) => isTaken.test(nameOf(column)) && shortenIds(cells, at));
  return formatTable(heads, cells, { overflow: wide ? 'none' : 'cut' });
}

/** @returns the fields of a document, a line each, without those that have no value. */
export function describeFields(doc: object, names = Object.keys(doc)): string[] {
  const written = names.map((name) => [name, formatExact(name, fieldOf(doc, name))] as const);
  return formatRecord(Object.fromEntries(written.map(([name, text]) => [name, text === '-' ? undefined : text])));
}

/** Ids that commands take by their first digits. */
const isTaken = /^id$|(?:volume|snapshot|image|entry)Ids?$/i;

function cellOf<Row>(row: Row, column: ListColumn<Row>, wide: boolean): string {
  if (typeof column !== 'string' && column.of) return column.of(row);
  const name = nameOf(column);
  return (wide ? formatExactCell : formatCell)(name, fieldOf(row, name));
}

/** Instants in full, but bytes as people read them. */
function formatExactCell(name: string, value: unknown): string {
  return typeof value === 'string' ? formatExact(name, value) : formatCell(name, value);
}

/** Between the values of a row: `cut` splits there by itself. */
const GAP = '\t';

function toValues<Row>(row: Row, columns: readonly ListColumn<Row>[]): string {
  const values = columns.map((column) => {
    const value = fieldOf(row, nameOf(column));
    return value === undefined && typeof column !== 'string' && column.of
      ? column.of(row)
      : visibleText(plainValue(value));
  });
  return values.join(GAP);
}

function pick<Row>(row: Row, columns: readonly ListColumn<Row>[]): Record<string, unknown> {
  return Object.fromEntries(columns.map((column) => [nameOf(column), fieldOf(row, nameOf(column)) ?? null]));
}

function nameOf<Row>(column: ListColumn<Row>): string {
  return typeof column === 'string' ? column : column.name;
}

/** The domain of libvirt is the one value of several lines, which are ours. */
function linesOf(value: string, name: string): string[] {
  return name === 'libvirt' ? value.split('\n') : [value];
}

function chooseColumns<Row>(
  { columns, more = [] }: Pick<ListView<Row>, 'columns' | 'more'>,
  { column: asked, ...options }: OutputOptions,
  rows: readonly Row[],
): ListColumn<Row>[] {
  if (asked === undefined) return formatOf(options) === 'wide' ? [...columns, ...more] : columns;
  const named = [...columns, ...more];
  const [first] = rows;
  const others = typeof first === 'object' && first !== null ? Object.keys(first) : [];
  const known = [...new Set([...named.map(nameOf), ...others])];
  const isHeadOf = (text: string) => (column: ListColumn<Row>) =>
    typeof column !== 'string' && column.head !== undefined && plainName(column.head) === plainName(text);
  const names = asked.map((text) => {
    const byHead = named.find(isHeadOf(text));
    return byHead ? nameOf(byHead) : text;
  });
  return chooseNames(names, known).map((name) => named.find((column) => nameOf(column) === name) ?? name);
}

/** @returns names as the document has them: asked for in any case, `volume id` and `VOLUME_ID` too, or by the head of a column. */
function chooseNames(asked: readonly string[], known: readonly string[]): string[] {
  return asked.map((text) => {
    const wanted = plainName(text);
    const found =
      known.find((name) => plainName(name) === wanted) ?? known.find((name) => plainName(headOf(name)) === wanted);
    if (found !== undefined) return found;
    throw failureError('InvalidRequest', { field: '--column', value: JSON.stringify(text), allowed: known.join(', ') });
  });
}

function plainName(text: string): string {
  return text.toLowerCase().replaceAll(/[^a-z0-9.]/g, '');
}
