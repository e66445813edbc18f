import type { Database } from '../../db/client';
import { findTargets, type EntryTarget } from '../../db/evictions/evictor';
import { findKeysBeginning } from '../../db/entries/entries';
import type { EntryRow } from '../../db/schema';
import type { EvictionOrder, EvictionTarget, PinTarget } from '../../workflows/contract/eviction';
import { uuidPattern, type BackendName, type EntryId, type ImageId } from '../../workflows/contract/ids';
import { describeAmbiguity, isKeyPrefix } from '../../workflows/contract/key-prefix';
import type { Demand } from '../eviction/choose-evictions';

/** An order, and what it means by the inventory. */
export interface ResolvedOrder {
  order: EvictionOrder;
  /** The demand that the policy is to meet; undefined where there is none. */
  demand?: Demand;
  /** Entries meant by name that were there. */
  entries: EntryRow[];
  /** Why nothing can be done. */
  refusal?: string;
}

/** Finds what an order means. @returns a refusal that names the target, where nothing is meant. */
export async function resolveOrder(
  database: Database,
  { backend, order }: { backend: BackendName; order: EvictionOrder },
): Promise<ResolvedOrder> {
  const { target } = order;
  if (target === undefined) return { order, demand: { kind: 'sweep' }, entries: [] };
  const why = order.reason ?? 'asked for';
  if ('bytes' in target) return { order, demand: { kind: 'rank', bytes: target.bytes, why }, entries: [] };
  if ('count' in target) return { order, demand: { kind: 'rank', count: target.count, why }, entries: [] };
  const meant = parseTarget(target);
  if (meant === undefined) return refused(order, `${describe(target)}: a malformed id`);
  const { target: whole, refusal } = await findWholeKey(database, { backend, target: meant });
  if (whole === undefined) return refused(order, refusal);
  const entries = await findTargets(database, { backend, target: whole });
  const there = entries.filter(({ state }) => state !== 'gone');
  if (entries.length === 0) return refused(order, `${describe(target)}: no entry on backend ${backend}`);
  const entryIds = there.map(({ id }) => id);
  return { order, entries, ...(entryIds.length > 0 && { demand: { kind: 'named', entryIds, why } }) };
}

/**
 * @returns the target with the whole of the key that it begins, as far as the inventory knows one; a refusal where it
 *   begins several.
 */
export async function findWholeKey<Target extends PinTarget>(
  database: Database,
  { backend, target }: { backend: BackendName; target: Target },
): Promise<{ target: Target | { cacheKey: string }; refusal?: undefined } | { target?: undefined; refusal: string }> {
  if (!('cacheKey' in target)) return { target };
  const keys = await findKeysBeginning(database, { backend, prefix: target.cacheKey });
  if (keys.length > 1) return { refusal: describeAmbiguity(target.cacheKey, keys) };
  return { target: { cacheKey: keys[0] ?? target.cacheKey } };
}

function parseTarget(target: Exclude<EvictionTarget, { bytes: number } | { count: number }>): EntryTarget | undefined {
  if ('entryId' in target) return uuidPattern.test(target.entryId) ? { entryId: target.entryId as EntryId } : undefined;
  if ('imageId' in target) return { imageId: target.imageId as ImageId };
  return isKeyPrefix(target.cacheKey) ? { cacheKey: target.cacheKey } : undefined;
}

function describe(target: EvictionTarget): string {
  const [[name, value] = []] = Object.entries(target);
  return `${name} ${value}`;
}

function refused(order: EvictionOrder, refusal: string): ResolvedOrder {
  return { order, entries: [], refusal };
}
