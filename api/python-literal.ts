import { parseJson } from '../lib/json';

const STRING = String.raw`u?(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")`;
const PAIR = new RegExp(String.raw`\s*${STRING}\s*:\s*${STRING}\s*(?:,|$)`, 'y');

/**
 * @param text of a query, as `{'a': 'b'}`: Python's clients send the text of a dictionary, others JSON.
 * @returns undefined for what is no dictionary of texts.
 */
export function dictionaryOf(text: string): Record<string, string> | undefined {
  const found = parseJson(text) ?? fromPython(text.trim());
  if (typeof found !== 'object' || found === null || Array.isArray(found)) return undefined;
  const items = Object.entries(found);
  return items.every((item): item is [string, string] => typeof item[1] === 'string')
    ? Object.fromEntries(items)
    : undefined;
}

function fromPython(text: string): object | undefined {
  if (!text.startsWith('{') || !text.endsWith('}')) return undefined;
  const inside = text.slice(1, -1).trimEnd();
  const items: [string, string][] = [];
  for (let at = 0; at < inside.length; at = PAIR.lastIndex) {
    PAIR.lastIndex = at;
    const pair = PAIR.exec(inside);
    if (pair === null) return undefined;
    items.push([unescape(pair[1] ?? pair[2]), unescape(pair[3] ?? pair[4])]);
  }
  return Object.fromEntries(items);
}

function unescape(quoted = ''): string {
  return quoted.replaceAll(/\\(.)/g, '$1');
}
