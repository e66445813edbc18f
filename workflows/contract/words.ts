/** @returns `1 image`, `3 images`. `many`: where it is not `one` with an s. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

const MAX_QUOTED_CHARACTERS = 120;

/** @returns a value as a sentence can hold it. */
export function quote(value: unknown): string {
  if (value === undefined) return 'nothing';
  const text = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? typeof value);
  return shorten(text, MAX_QUOTED_CHARACTERS);
}

export function shorten(text: string, maxCharacters: number): string {
  return text.length <= maxCharacters ? text : `${text.slice(0, maxCharacters)}…`;
}

/** Names that a sentence holds; the others are counted. */
const MOST_LISTED = 6;
const MAX_LISTED_CHARACTERS = 64;

/** @returns `a, b`, `a, b … and 2 more`, or `none`. @param isMore whether there are more than these. */
export function listed(names: readonly string[], { isMore = false }: { isMore?: boolean } = {}): string {
  if (names.length === 0) return 'none';
  const others = names.length - MOST_LISTED;
  const shown = names.slice(0, MOST_LISTED).map((name) => shorten(name, MAX_LISTED_CHARACTERS));
  return `${shown.join(', ')}${others > 0 ? ` … and ${isMore ? 'more than ' : ''}${others} more` : ''}`;
}

const SECOND_MS = 1000;
const MINUTE_S = 60;
const HOUR_S = 3600;

/** `850 ms`, `12.3 s`, `4 min 10 s`, `2 h 5 min`. */
export function formatDuration(ms: number): string {
  if (ms < SECOND_MS) return `${Math.round(ms)} ms`;
  const seconds = ms / SECOND_MS;
  if (seconds < MINUTE_S) return `${seconds.toFixed(1)} s`;
  const whole = Math.floor(seconds);
  if (whole < HOUR_S) return `${Math.floor(whole / MINUTE_S)} min ${whole % MINUTE_S} s`;
  return `${Math.floor(whole / HOUR_S)} h ${Math.floor((whole % HOUR_S) / MINUTE_S)} min`;
}
