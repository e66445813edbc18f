import { z } from 'zod';
import { duration } from './units';

interface Field {
  /** With its article. */
  name: string;
  least: number;
  most: number;
  /** Of its values from `least` on. */
  words: readonly string[];
}

const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];
const fields: readonly Field[] = [
  { name: 'a minute', least: 0, most: 59, words: [] },
  { name: 'an hour', least: 0, most: 23, words: [] },
  { name: 'a day of the month', least: 1, most: 31, words: [] },
  { name: 'a month', least: 1, most: 12, words: MONTHS },
  { name: 'a day of the week', least: 0, most: 7, words: DAYS },
];

/** `off`, or a cron expression of five fields, as Temporal's schedules have it: lists, ranges and steps. */
export const cron = z.string('off, or a cron expression').superRefine((text, issue) => {
  if (text === 'off') return;
  const parts = text.trim().split(/ +/);
  if (parts.length !== fields.length)
    return issue.addIssue(
      'off, or a cron expression of five fields: minute, hour, day of the month, month, day of the week',
    );
  const bad = fields.find((field, index) => !(parts[index] ?? '').split(',').every((term) => isTerm(term, field)));
  if (bad) issue.addIssue(`${bad.name} of ${bad.least} to ${bad.most}, *, or a list, range or step of these`);
});

const MINUTE_MS = 60_000;
const interval = duration.refine((ms) => ms >= MINUTE_MS, 'at least 1m');
const looksLikeInterval = /^\d+(?:\.\d+)? *[a-z]+$/i;

/** The same, or an interval such as `30m`, at least a minute. Parsed to milliseconds or to the text. */
export const cronOrInterval = z
  .string('off, an interval such as 30m, or a cron expression')
  .transform((text, context): string | number => {
    const parsed = (looksLikeInterval.test(text.trim()) ? interval : cron).safeParse(text);
    if (parsed.success) return parsed.data;
    for (const { message } of parsed.error.issues) context.addIssue(message);
    return z.NEVER;
  });

/** `*`, `5`, `1-5`, `mon-fri`, with `/2` behind. */
function isTerm(term: string, field: Field): boolean {
  const [, range = '', step] = /^([^/]+)(?:\/(\d{1,4}))?$/.exec(term) ?? [];
  if (range === '' || step === '0') return false;
  if (range === '*') return true;
  const [from, to = from, ...more] = range.split('-').map((text) => valueOf(text, field));
  return from !== undefined && to !== undefined && more.length === 0 && from <= to;
}

function valueOf(text: string, { least, most, words }: Field): number | undefined {
  const word = words.indexOf(text.toLowerCase());
  const value = word < 0 ? (/^\d{1,4}$/.test(text) ? Number(text) : Number.NaN) : least + word;
  return value >= least && value <= most ? value : undefined;
}
