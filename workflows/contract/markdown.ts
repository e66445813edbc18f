import { visibleText } from './visible-text';
import { shorten } from './words';

/*
 * Texts that the Temporal UI shows as Markdown: a summary or details of a run. Names and texts of others stay text
 * there.
 */

/** Shows `value` as it is, whatever it holds. */
export function code(value: string): string {
  return `\`${visibleText(value).replaceAll('`', ' ')}\``;
}

/** Escapes what would be Markdown, HTML or a table. */
export function text(value: string): string {
  return visibleText(value.replace(/\s+/g, ' ')).replace(/[\\`*_{}[\]<>#|!&~]/g, '\\$&');
}

/** Of a name in a summary, which the server keeps to some hundred bytes. */
const MAX_NAME_CHARACTERS = 48;

/** @returns an image or a volume as people know it: `debian-12 (43c0e353-…)`, or its id alone where it has no name. */
export function called(id: string, name: string | null | undefined): string {
  return name ? `${shorten(text(name), MAX_NAME_CHARACTERS)} (${id})` : id;
}

/** @param path of the Temporal UI. */
export function link(label: string, path: string): string {
  return `[${text(label)}](${path})`;
}

export function paragraphs(...all: string[]): string {
  return all.join('\n\n');
}

/* Paths of the Temporal UI: it shows the links itself, so they need no host. Nothing in an id ends the link. */

/** @returns where the UI shows a workflow: its newest run, or one run's tab. */
export function workflowPath(
  namespace: string,
  workflowId: string,
  tab?: { runId: string; name: 'pending-activities' },
): string {
  const path = `${namespacePath(namespace)}/workflows/${encode(workflowId)}`;
  return tab === undefined ? path : `${path}/${tab.runId}/${tab.name}`;
}

/** @returns where the UI lists the workflows that a visibility query finds. */
export function workflowsPath(namespace: string, query: string): string {
  return `${namespacePath(namespace)}/workflows?query=${encode(query)}`;
}

function namespacePath(namespace: string): string {
  return `/namespaces/${encode(namespace)}`;
}

/** As `encodeURIComponent`, and parentheses, which would end the link. */
function encode(value: string): string {
  return encodeURIComponent(value).replace(/[()]/g, (character) => `%${character.charCodeAt(0).toString(16)}`);
}
