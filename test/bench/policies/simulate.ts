import { chooseEvictions } from '../../../activities/eviction/choose-evictions';
import { scoreOf } from '../../../activities/eviction/score';
import type { EvictionCandidate, EvictionView } from '../../../db/evictions/eviction-view';
import { entryRow, backendRow } from './rows';
import type { Trace } from './traces';
import { type EntryRow } from '../../../db/schema';

export const policies = ['lru', 'gdsf', 'offline'] as const;
export type Policy = (typeof policies)[number];

export interface SimulatedRun {
  /** Seconds of all misses. */
  missSeconds: number;
  misses: number;
  /** Share of all bytes asked for that were in the cache. */
  byteHitRate: number;
  evictions: number;
}

/** Uses are seen by a sweep, as in production. */
const SWEEP_MS = 5 * 60_000;

/** Plays a trace against the product's own policy, or against the offline one, which knows the future. */
export function simulate(trace: Trace, policy: Policy): SimulatedRun {
  const cache = createCache(trace, policy);
  let [missSeconds, misses, hitBytes, bytes] = [0, 0, 0, 0];
  trace.requests.forEach(({ image, atMs }, index) => {
    const size = trace.images[image]?.bytes ?? 0;
    bytes += size;
    if (cache.use(image, atMs, index)) hitBytes += size;
    else {
      missSeconds += trace.images[image]?.costSeconds ?? 0;
      misses += 1;
    }
  });
  return { missSeconds, misses, byteHitRate: hitBytes / bytes, evictions: cache.evictions() };
}

function createCache(trace: Trace, policy: Policy) {
  const backend = backendRow({
    maxBytes: trace.maxBytes,
    maxCount: trace.maxCount,
    policy: policy === 'lru' ? 'lru' : 'gdsf',
  });
  const cached = new Map<number, EntryRow>();
  /** Evicted entries: their uses and scores outlive eviction. */
  const gone = new Map<number, EntryRow>();
  const nextUse = policy === 'offline' ? nextUses(trace) : [];
  /** Index of the request at which each image is used next. */
  const nextUseOf = new Map<number, number>();
  let [usedBytes, evictions, sweptAtMs] = [0, 0, 0];

  const choose = ({ image, bytes, atMs, index }: Miss): EntryRow[] | undefined => {
    const need = { neededBytes: usedBytes + bytes - trace.maxBytes, neededCount: cached.size + 1 - trace.maxCount };
    if (policy === 'offline') {
      const worth = worthAt(trace, { index, nextUseOf });
      return chooseOffline(worth, { image, cached: [...cached], ...need });
    }
    if (need.neededBytes <= 0 && need.neededCount <= 0) return [];
    const view = viewOf([...cached.values()], { backend, now: new Date(atMs), usedBytes });
    const selection = chooseEvictions(view, [{ kind: 'reservation', bytes, ...need }]);
    backend.evictionClock = selection.clock;
    return selection.chosen.map(({ candidate }) => candidate.entry);
  };

  const populate = (image: number, atMs: number, index: number): boolean => {
    const { bytes = 0, costSeconds = 0 } = trace.images[image] ?? {};
    if (bytes > trace.maxBytes) return false;
    const victims = choose({ image, bytes, atMs, index });
    if (victims === undefined) return false;
    for (const victim of victims) {
      const evicted = Number(victim.shortKey);
      cached.delete(evicted);
      gone.set(evicted, victim);
      usedBytes -= victim.realBytes;
      evictions += 1;
    }
    const { uses = 0, usesScored = 0, useScore = 0, scoredAt = null } = gone.get(image) ?? {};
    const at = new Date(atMs);
    const clock = backend.evictionClock;
    const before = {
      uses,
      usesScored,
      useScore,
      scoredAt,
      priorityBase: clock,
      createdAt: at,
      readyAt: at,
      lastUsedAt: at,
    };
    cached.set(image, entryRow({ shortKey: String(image), realBytes: bytes, costSeconds, ...before }));
    usedBytes += bytes;
    return true;
  };

  const sweep = (atMs: number): void => {
    if (atMs - sweptAtMs < SWEEP_MS) return;
    sweptAtMs = atMs;
    for (const entry of cached.values())
      if (entry.uses !== entry.usesScored) {
        const now = new Date(atMs);
        Object.assign(entry, scoreOf(entry, { backend, now }), { usesScored: entry.uses, scoredAt: now });
      }
  };

  return {
    /** @returns whether it was a hit. */
    use: (image: number, atMs: number, index: number): boolean => {
      sweep(atMs);
      nextUseOf.set(image, nextUse[index] ?? Infinity);
      const isHit = cached.has(image);
      if (!isHit && !populate(image, atMs, index)) return false;
      const entry = cached.get(image);
      if (entry) Object.assign(entry, { uses: entry.uses + 1, lastUsedAt: new Date(atMs) });
      return isHit;
    },
    evictions: () => evictions,
  };
}

function viewOf(
  entries: EntryRow[],
  { backend, now, usedBytes }: Pick<EvictionView, 'backend' | 'now'> & { usedBytes: number },
): EvictionView {
  const candidates: EvictionCandidate[] = entries.map((entry) => ({
    entry,
    leased: false,
    awaited: false,
    images: [],
  }));
  const used = { bytes: usedBytes, count: entries.length, reservedBytes: 0, pinnedBytes: 0 };
  return { now, backend, used, candidates, keepOfFollow: new Map() };
}

/** Index of the next request of the same image, for each request. */
function nextUses({ requests }: Trace): number[] {
  const next = new Map<number, number>();
  const found: number[] = [];
  for (let index = requests.length - 1; index >= 0; index -= 1) {
    const image = requests[index]?.image ?? 0;
    found[index] = next.get(image) ?? Infinity;
    next.set(image, index);
  }
  return found;
}

interface Miss {
  image: number;
  bytes: number;
  atMs: number;
  index: number;
}

/** @returns what an image is worth at request `index`: seconds that it spares, for its bytes and the time until then. */
function worthAt(
  { images }: Trace,
  { index, nextUseOf }: { index: number; nextUseOf: Map<number, number> },
): (image: number) => number {
  return (image) => {
    const { costSeconds = 0, bytes = 1 } = images[image] ?? {};
    return costSeconds / (bytes * ((nextUseOf.get(image) ?? Infinity) - index));
  };
}

/**
 * As Belady's, weighed: the image of least worth goes first, and one worth less than its victims is not cached at all. Knows the future; near the
 * optimum, which is too much to compute.
 * @returns undefined where the image is not worth its place.
 */
function chooseOffline(
  worth: (image: number) => number,
  of: { image: number; cached: [number, EntryRow][]; neededBytes: number; neededCount: number },
): EntryRow[] | undefined {
  const ranked = of.cached.map(([image, entry]) => ({ entry, worth: worth(image) })).sort((a, b) => a.worth - b.worth);
  const own = worth(of.image);
  if (own === 0) return undefined;
  const victims: EntryRow[] = [];
  let { neededBytes: bytes, neededCount: count } = of;
  for (const victim of ranked) {
    if (bytes <= 0 && count <= 0) break;
    if (victim.worth > own) return undefined;
    victims.push(victim.entry);
    bytes -= victim.entry.realBytes;
    count -= 1;
  }
  return victims;
}
