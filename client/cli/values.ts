import { InvalidArgumentError } from 'commander';
import { GiB, KiB, MiB, SECTOR_BYTES, TiB } from '../../workflows/contract/bytes';
import { backendNamePattern, uuidPattern } from '../../workflows/contract/ids';

/* What a user types, as ours. Commander puts the option's name and the value before what is thrown here. */

const units: Record<string, number> = { '': GiB, G: GiB, GiB, K: KiB, KiB, M: MiB, MiB, T: TiB, TiB };

/** @returns bytes: `10` and `10GiB` are ten GiB, `1536MiB` is one and a half. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text.trim());
  const unit = units[match?.[2] ?? ''];
  const bytes = match && unit !== undefined ? Number(match[1]) * unit : Number.NaN;
  if (Number.isSafeInteger(bytes) && bytes > 0 && bytes % SECTOR_BYTES === 0) return bytes;
  throw invalid(text, `a size such as 10, 10GiB or 1536MiB, in whole sectors of ${SECTOR_BYTES} bytes`);
}

/** @returns a positive multiple of a sector. */
export function parseSizeBytes(text: string): number {
  const bytes = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(bytes) && bytes > 0 && bytes % SECTOR_BYTES === 0) return bytes;
  throw invalid(text, `a whole number of bytes above 0 that is a multiple of ${SECTOR_BYTES}`);
}

export function parseCount(text: string): number {
  const count = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(count) && count > 0) return count;
  throw invalid(text, 'a whole number above 0');
}

export function parseWholeNumber(text: string): number {
  const count = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(count)) return count;
  throw invalid(text, 'a whole number');
}

export function parseUuid(text: string): string {
  const uuid = text.toLowerCase();
  if (uuidPattern.test(uuid)) return uuid;
  throw invalid(text, 'a UUID such as 0f8fad5b-d9cb-469f-a165-70867728950e');
}

export function parseBackend(text: string): string {
  if (backendNamePattern.test(text)) return text;
  throw invalid(text, 'a backend name: lower-case letters, digits and hyphens, 40 at most');
}

/** @returns what was collected so far and one more `key=value`; a value may hold further equals signs. */
export function collectPairs(text: string, collected: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw invalid(text, 'key=value');
  return { ...collected, [text.slice(0, at)]: text.slice(at + 1) };
}

function invalid(text: string, allowed: string): InvalidArgumentError {
  return new InvalidArgumentError(`Got ${text === '' ? 'nothing' : text}, allowed is ${allowed}.`);
}
