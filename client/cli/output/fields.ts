import { formatBytes } from '../../../workflows/contract/bytes';
import { isRecord } from '../../../workflows/contract/is-record';
import { formatDuration } from '../../../workflows/contract/words';
import { formatAge, formatInstant, formatShare } from './format';

/*
 * Fields of a document as people read them: the name is that of `--json`, whose end is the unit, and says how the value
 * is written.
 */

/** @returns the value of `path` in `row`: `space.freeBytes` is a field of a field, `images.imageId` those of a list. */
export function fieldOf(row: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((value, name) => {
    if (Array.isArray(value)) return value.map((item) => fieldOf(item, name));
    return isRecord(value) ? value[name] : undefined;
  }, row);
}

/** @returns the head of a column: `SIZE` of `sizeBytes`, `VOLUME ID` of `volumeId`. The cells have the unit. */
export function headOf(path: string): string {
  const name = path.slice(path.lastIndexOf('.') + 1);
  const short = name.replace(/(?<=[a-z])(?:Bytes|At|Seconds|Ms)$/, '');
  return short
    .replaceAll(/(?<=[a-z])(?=[A-Z])/g, ' ')
    .replace(/(?<=Gi|Mi) B$/, 'B')
    .toUpperCase();
}

/** @returns a value in the cell of a table; an instant as how long it is ago. */
export function formatCell(path: string, value: unknown): string {
  return format(path, value, { instant: (at) => `${formatAge(at)} ago` });
}

/** @returns a value of a record; bytes exact too. */
export function formatExact(path: string, value: unknown): string {
  return format(path, value, { instant: formatInstant, bytes: exactBytes });
}

interface Writers {
  instant: (at: string) => string;
  bytes?: (bytes: number) => string;
}

function format(path: string, value: unknown, writers: Writers): string {
  if (value === null || value === undefined || value === '') return '-';
  if (typeof value === 'number') return formatNumber(path, value, writers);
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (typeof value === 'string') return isInstant(value) ? writers.instant(value) : value;
  if (Array.isArray(value)) return value.map((item) => format(path, item, writers)).join(', ') || '-';
  if (!isRecord(value)) return JSON.stringify(value) ?? '-';
  const known = Object.entries(value).filter(([, one]) => one !== null && one !== undefined);
  // `timingsMs` says the unit of all that it holds.
  const unit = /Ms$|Bytes$|Seconds$/.exec(path)?.[0] ?? '';
  return known.map(([name, one]) => `${name}=${format(`${name}${unit}`, one, writers)}`).join(', ') || '-';
}

function formatNumber(path: string, value: number, { bytes = formatBytes }: Writers): string {
  if (/\bbytes|Bytes$/.test(path)) return bytes(value);
  if (/seconds$/i.test(path)) return formatDuration(value * 1000);
  if (path.endsWith('Ms')) return formatDuration(value);
  return /(?:Rate|Water)$/.test(path) ? formatShare(value) : String(value);
}

function exactBytes(bytes: number): string {
  return bytes < 1024 ? `${bytes} B` : `${bytes} (${formatBytes(bytes)})`;
}

/** RFC 3339 in UTC, as all records have times. */
function isInstant(text: string): boolean {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/.test(text);
}

/** @returns a value as a script takes it: texts as they are, what is unknown as nothing, lists and objects as JSON. */
export function plainValue(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'string') return value;
  return JSON.stringify(value) ?? '';
}
