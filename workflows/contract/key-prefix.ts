/*
 * How people name a cache key: by its short key or the beginning of it. One rule for the command line, the library,
 * signals and activities.
 */

const LEAST_DIGITS = 4;
const MOST_DIGITS = 32;
const pattern = new RegExp(`^[0-9a-f]{${LEAST_DIGITS},${MOST_DIGITS}}$`);

export const keyPrefixAllowed = `a short cache key or its beginning, ${LEAST_DIGITS} to ${MOST_DIGITS} hex digits in lower case`;

export function isKeyPrefix(value: unknown): value is string {
  return typeof value === 'string' && pattern.test(value);
}

/** Keys that a refusal names. */
const NAMED = 5;

/** @param keys some of those that begin so. @returns why a beginning that means several keys is refused, with these. */
export function describeAmbiguity(prefix: string, keys: readonly string[]): string {
  const more = keys.length > NAMED ? ' and others' : '';
  return `cacheKey ${prefix}: several keys begin like this: ${keys.slice(0, NAMED).join(', ')}${more}; give more digits of one of them`;
}
