import { styleText } from 'node:util';

const colours = {
  green: ['available', 'ready', 'active', 'ok', 'hit', 'done'],
  yellow: [
    'creating',
    'deleting',
    'reimaging',
    'populating',
    'extending',
    'retired',
    'queued',
    'saving',
    'warning',
    'deactivated',
  ],
  red: ['error', 'FAULT', 'failed', 'refused', 'killed'],
} as const;
const columns = ['STATE', 'STATUS', 'OUTCOME'];

/** @returns a state in the colour of how well it is, where Node finds a terminal that shows any and `NO_COLOR` is not set. */
export function paint(head: string, text: string): string {
  if (!columns.includes(head)) return text;
  const word = text.split(' ')[0] ?? '';
  for (const colour of ['green', 'yellow', 'red'] as const)
    if (colours[colour].some((known) => known === word)) return styleText(colour, text);
  return text;
}

const states = Object.values(colours).flat();
/** Only a state is in a colour, so that a name of others brings none. */
const painted = new RegExp(
  String.raw`(\u001b\[3[123]m(?:${states.join('|')})(?: [^\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]*)?\u001b\[39m)`,
  'u',
);

/** @returns a line that `change` has passed, but for what `paint` has made. */
export function besidePaint(line: string, change: (text: string) => string): string {
  return line
    .split(painted)
    .map((part, at) => (at % 2 === 0 ? change(part) : part))
    .join('');
}

export function isPainted(line: string): boolean {
  return painted.test(line);
}
