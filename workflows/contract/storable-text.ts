/* PostgreSQL keeps neither NUL nor half of a surrogate pair, in text and in jsonb. */

const UNSTORABLE = /[\0\p{Surrogate}]/u;
const EACH_UNSTORABLE = /[\0\p{Surrogate}]/gu;

export function isStorableText(text: string): boolean {
  return !UNSTORABLE.test(text);
}

/** @returns the text with U+FFFD for each character that cannot be stored, as decoders write it. */
export function toStorableText(text: string): string {
  return text.replaceAll(EACH_UNSTORABLE, '\uFFFD');
}
