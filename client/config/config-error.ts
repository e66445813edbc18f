import { visibleText } from '../../workflows/contract/visible-text';
import { plural, shorten } from '../../workflows/contract/words';

/** One fault of the configuration. */
export interface ConfigIssue {
  /** Dotted path such as `backends.local.cache.maxBytes`; empty for the file as a whole. */
  path: string;
  /** The environment variable that the value came from, when it did not come from the file. */
  variable?: string;
  /** Line of the file, from 1, when it is known. */
  line?: number;
  /** The value found, shortened and without passwords; undefined when it is missing. */
  received?: string;
  /** The values that are allowed there. */
  allowed: string;
}

/** All faults of a configuration at once. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  constructor(
    readonly file: string,
    readonly issues: ConfigIssue[],
  ) {
    const head = `${file} has ${plural(issues.length, 'fault')}:`;
    // A path or a key may hold a line break; the message has a line for each fault.
    super([head, ...issues.map(formatIssue)].map(visibleText).join('\n'));
  }
}

const RECEIVED_LENGTH_LIMIT = 80;

/** @returns `value` as a person would write it in the file: short, one line, any password of a URL replaced. */
export function describeValue(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  const text = JSON.stringify(value).replaceAll(/(:\/\/[^\s:@/"]*):[^\s@"]*@/g, '$1:***@');
  return shorten(text, RECEIVED_LENGTH_LIMIT);
}

function formatIssue({ path, variable, line, received, allowed }: ConfigIssue): string {
  const origin = variable ?? (line === undefined ? undefined : `line ${line}`);
  const where = [path === '' ? 'the file' : path, ...(origin === undefined ? [] : [`(${origin})`])].join(' ');
  return `  ${where}: got ${received ?? 'nothing'}, allowed is ${allowed}`;
}
