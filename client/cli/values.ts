import { InvalidArgumentError } from 'commander';
import { GiB, KiB, MiB, SECTOR_BYTES, TiB } from '../../workflows/contract/bytes';
import { backendNamePattern, uuidPattern } from '../../workflows/contract/ids';
import type { CacheLimitValues } from '../../workflows/contract/eviction';
import { isKeyPrefix, keyPrefixAllowed } from '../../workflows/contract/key-prefix';
import { cacheLimitsSchema } from '../config/schema';
import { parseQuantity, durationUnitsMs } from '../config/units';
import { describeAllowed } from '../../lib/issue-words';

/* Parses what a user types. Commander puts the option's name and the value before the message thrown here. */

const units: Record<string, number> = { '': GiB, G: GiB, GiB, K: KiB, KiB, M: MiB, MiB, T: TiB, TiB };

/** @returns bytes: `10` and `10GiB` are ten GiB, `1536MiB` is one and a half. */
export function parseSize(text: string): number {
  const bytes = parseQuantity(text, units);
  if (bytes > 0 && bytes % SECTOR_BYTES === 0) return bytes;
  throw invalid(text, `a size such as 10, 10GiB or 1536MiB, in whole sectors of ${SECTOR_BYTES} bytes`);
}

/** @returns a positive multiple of a sector. */
export function parseSizeBytes(text: string): number {
  const bytes = wholeNumberOf(text);
  if (bytes > 0 && bytes % SECTOR_BYTES === 0) return bytes;
  throw invalid(text, `a whole number of bytes above 0 that is a multiple of ${SECTOR_BYTES}`);
}

export function parseCount(text: string): number {
  const count = wholeNumberOf(text);
  if (count > 0) return count;
  throw invalid(text, 'a whole number above 0');
}

export function parseWholeNumber(text: string): number {
  const count = wholeNumberOf(text);
  if (count >= 0) return count;
  throw invalid(text, 'a whole number');
}

/** @returns NaN for what is none that is exact. */
function wholeNumberOf(text: string): number {
  return /^\d+$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : Number.NaN;
}

const DAY_MS = 86_400_000;

/** @returns milliseconds of `90m`, `24h` or `7d`. */
export function parsePeriod(text: string, maxDays: number): number {
  const ms = parseQuantity(text, durationUnitsMs);
  if (ms > 0 && ms <= maxDays * DAY_MS) return ms;
  throw invalid(text, `a period such as 90m, 24h or 7d, at most ${maxDays}d`);
}

export function parseUuid(text: string): string {
  const uuid = text.toLowerCase();
  if (uuidPattern.test(uuid)) return uuid;
  throw invalid(text, 'a UUID such as 0f8fad5b-d9cb-469f-a165-70867728950e');
}

/** @returns what was collected so far and one more. */
export function collectUuids(text: string, collected: string[] = []): string[] {
  return [...collected, parseUuid(text)];
}

export function parseKeyPrefix(text: string): string {
  const prefix = text.toLowerCase();
  if (isKeyPrefix(prefix)) return prefix;
  throw invalid(text, keyPrefixAllowed);
}

export function parseBackend(text: string): string {
  if (backendNamePattern.test(text)) return text;
  throw invalid(text, 'a backend name: lower-case letters, digits and hyphens, 40 at most');
}

/** As `collectUuids`: for options that are given several times, or once with several values. */
export function collectBackends(text: string, collected: string[] = []): string[] {
  return [...collected, parseBackend(text)];
}

export function collectTexts(text: string, collected: string[] = []): string[] {
  if (text === '') throw invalid(text, 'a text that is not empty');
  return [...collected, text];
}

/** @returns what was collected so far and one more `key=value`; a value may hold further equals signs. */
export function collectPairs(text: string, collected: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw invalid(text, 'key=value');
  return { ...collected, [text.slice(0, at)]: text.slice(at + 1) };
}

type WrittenLimit = keyof typeof cacheLimitsSchema.shape;

/**
 * @returns what was collected so far and one more limit, written as in `temporal.yaml`: `maxBytes=10GiB`,
 * `freeLowWater=5%`, `idleAge=30d`, `idleAge=off`.
 */
export function collectLimits(text: string, collected: Partial<CacheLimitValues> = {}): Partial<CacheLimitValues> {
  const at = text.indexOf('=');
  const name = text.slice(0, Math.max(at, 0));
  const written = text.slice(at + 1);
  if (!isLimit(name))
    throw new InvalidArgumentError(`Got ${text}, allowed is name=value with one of ${limitNames.join(', ')}.`);
  if (name === 'idleAge' && written === 'off') return { ...collected, idleAgeMs: null };
  const parsed = cacheLimitsSchema.shape[name].safeParse(valueOf(written), { error: describeAllowed });
  if (!parsed.success) {
    const allowed = parsed.error.issues[0]?.message ?? 'another value';
    throw new InvalidArgumentError(`${name}: got ${written === '' ? 'nothing' : written}, allowed is ${allowed}.`);
  }
  return { ...collected, [name === 'idleAge' ? 'idleAgeMs' : name]: parsed.data };
}

const limitNames = Object.keys(cacheLimitsSchema.shape) as WrittenLimit[];

function isLimit(name: string): name is WrittenLimit {
  return limitNames.some((known) => known === name);
}

/** As YAML would read it. */
function valueOf(written: string): string | number | boolean {
  if (written === 'true' || written === 'false') return written === 'true';
  return /^\d+$/.test(written) ? Number(written) : written;
}

function invalid(text: string, allowed: string): InvalidArgumentError {
  return new InvalidArgumentError(`Got ${text === '' ? 'nothing' : text}, allowed is ${allowed}.`);
}
