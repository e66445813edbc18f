/**
 * Text of others (a name, metadata, a message of a foreign service) as a terminal only shows it: control characters,
 * line breaks and what reorders text are written as escapes. So a name moves no cursor, sets no clipboard and fakes no
 * row. Idempotent.
 */
export function visibleText(text: string): string {
  return text.replace(hidden, (character) => shortEscapes[character] ?? unicodeEscape(character));
}

/** The same for a document of `JSON.stringify`, or for lines of such: it means exactly what it meant before. */
export function visibleJson(json: string): string {
  return json.replace(hidden, (character) => (character === '\n' ? character : unicodeEscape(character)));
}

/** C0, DEL and C1; separators of lines and paragraphs; overrides, isolates and marks of direction. */
const hidden = /[\p{Cc}\p{Zl}\p{Zp}\p{Bidi_Control}]/gu;

const shortEscapes: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function unicodeEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
