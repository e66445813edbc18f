import { eq, or, sql, type SQL } from 'drizzle-orm/sql';
import type { Column } from 'drizzle-orm';

/** Fewer digits begin too many ids. */
const LEAST_DIGITS = 4;

/** @returns whether a row is what a person calls `text`: its whole name, or the first digits of its id, four at least. */
export function isCalled(text: string, { id, name }: { id: Column; name: Column }): SQL | undefined {
  const range = uuidsBeginning(text);
  return or(eq(name, text), range && sql`${id} between ${range.first}::uuid and ${range.last}::uuid`);
}

/** As a range, which an index serves. @returns undefined for what begins no UUID. */
function uuidsBeginning(text: string): { first: string; last: string } | undefined {
  const digits = text.toLowerCase().replaceAll('-', '');
  if (!/^[0-9a-f]{1,32}$/.test(digits) || digits.length < LEAST_DIGITS) return undefined;
  return { first: digits.padEnd(32, '0'), last: digits.padEnd(32, 'f') };
}
