import type { Database } from '../../db/client';
import { findTargets, type EntryTarget } from '../../db/evictions/evictor';
import { findKeysBeginning } from '../../db/entries/key-prefix';
import type { EntryRow } from '../../db/types';
import type { EvictionOrder, EvictionTarget } from '../../workflows/contract/eviction';
import { uuidPattern, type BackendName, type EntryId, type ImageId } from '../../workflows/contract/ids';
import { describeAmbiguity, isKeyPrefix } from '../../workflows/contract/key-prefix';
import type { Demand } from './choose-evictions';

/** An order that was looked up in the inventory. */
export interface ResolvedOrder {
  order: EvictionOrder;
  /** What is asked of the policy; undefined where there is nothing to ask. */
  demand?: Demand;
  /** What is meant by name and was there. */
  entries: EntryRow[];
  /** Why nothing can be done. */
  refusal?: string;
}

/** Looks up what an order means. @returns a refusal that names the target, where nothing is meant. */
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
  const keys = 'cacheKey' in meant ? await findKeysBeginning(database, { backend, prefix: meant.cacheKey }) : [];
  if ('cacheKey' in meant && keys.length > 1) return refused(order, describeAmbiguity(meant.cacheKey, keys));
  const [cacheKey] = keys;
  const entries = await findTargets(database, { backend, target: cacheKey === undefined ? meant : { cacheKey } });
  const there = entries.filter(({ state }) => state !== 'gone');
  if (entries.length === 0) return refused(order, `${describe(target)}: no entry on backend ${backend}`);
  const entryIds = there.map(({ id }) => id);
  return { order, entries, ...(entryIds.length > 0 && { demand: { kind: 'named', entryIds, why } }) };
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
