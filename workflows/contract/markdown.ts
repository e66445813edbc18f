import { visibleText } from './visible-text';

/* Texts that the Temporal UI shows as Markdown: a summary or details of a run. What others have chosen stays text there. */

/** Shows `value` as it is, whatever it holds. */
export function code(value: string): string {
  return `\`${visibleText(value).replaceAll('`', ' ')}\``;
}

/** Escapes what would be Markdown, HTML or a table. */
export function text(value: string): string {
  return visibleText(value.replace(/\s+/g, ' ')).replace(/[\\`*_{}[\]<>#|!&~]/g, '\\$&');
}

/** @param path of the Temporal UI. */
export function link(label: string, path: string): string {
  return `[${text(label)}](${path})`;
}

export function paragraphs(...all: string[]): string {
  return all.join('\n\n');
}
