import { InvalidArgumentError } from 'commander';
import { GiB, KiB, MiB, SECTOR_BYTES, TiB } from '../../workflows/contract/bytes';
import { backendNamePattern, uuidPattern } from '../../workflows/contract/ids';
import { volumeOrders, type VolumeSort } from '../../workflows/contract/volume-changes';
import type { CacheLimitValues } from '../../workflows/contract/eviction';
import { isKeyPrefix, keyPrefixAllowed } from '../../workflows/contract/key-prefix';
import { durationUnitsMs, parseQuantity } from '../../lib/quantity';
import { lazy } from './lazy';

/* Parses what a user types. Commander puts the option's name and the value before the message thrown here. */

const units: Record<string, number> = { B: 1, G: GiB, GiB, K: KiB, KiB, M: MiB, MiB, T: TiB, TiB };

/** @returns bytes of a size with its unit: `10GiB`, `1536MiB`, `1.5T`. Without one it could be anything. */
export function parseSize(text: string): number {
  return sizeOf(text, { units, example: 'a size with its unit, such as 10GiB or 1536MiB' });
}

/** @returns bytes: of an option whose name says so, a number alone has that unit. */
export function parseBytes(text: string): number {
  const example = 'a number of bytes above 0, such as 1048576, 512MiB or 10GiB';
  return sizeOf(text, { units: { ...units, '': 1 }, example });
}

/** As `parseSize`, of what holds whole sectors. */
export function parseVolumeSize(text: string): number {
  return wholeSectors(text, parseSize(text));
}

/** As `parseBytes`, of what holds whole sectors. */
export function parseSizeBytes(text: string): number {
  return wholeSectors(text, parseBytes(text));
}

/** As `parseSize`, 0 too. @returns whole GiB, in which the image service counts. */
export function parseWholeGiB(text: string): number {
  const gib = text === '0' ? 0 : parseSize(text) / GiB;
  if (Number.isSafeInteger(gib)) return gib;
  throw invalid(text, 'whole GiB, such as 10GiB');
}

/** The one reader of sizes. */
function sizeOf(text: string, { units: known, example }: { units: Record<string, number>; example: string }): number {
  const bytes = parseQuantity(text, known);
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw invalid(text, example);
}

function wholeSectors(text: string, bytes: number): number {
  if (bytes % SECTOR_BYTES === 0) return bytes;
  throw invalid(text, `whole sectors of ${SECTOR_BYTES} bytes`);
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

/** @returns an order of volumes: `name`, `sizeBytes:desc`. */
export function parseSort(text: string): VolumeSort {
  const [, by, direction = 'asc'] = /^(\w+)(?::(asc|desc))?$/.exec(text) ?? [];
  const order = volumeOrders.find((known) => known === by);
  if (order !== undefined) return { by: order, descending: direction === 'desc' };
  throw invalid(text, `one of ${volumeOrders.join(', ')}, and :desc behind it for the opposite order`);
}

export function parseUuid(text: string): string {
  const uuid = text.toLowerCase();
  if (uuidPattern.test(uuid)) return uuid;
  throw invalid(text, 'a UUID such as 0f8fad5b-d9cb-469f-a165-70867728950e');
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

/** @returns what was collected so far and one more: for options that are given several times, or once with several values. */
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

/** @returns what was collected so far and one more limit, as `parseLimit` reads it. */
export function collectLimits(text: string, collected: Partial<CacheLimitValues> = {}): Partial<CacheLimitValues> {
  return { ...collected, ...lazy.limits.parseLimit(text) };
}

function invalid(text: string, allowed: string): InvalidArgumentError {
  return new InvalidArgumentError(`Got ${text === '' ? 'nothing' : text}, allowed is ${allowed}.`);
}
