import type { EvictionCandidate, EvictionView } from '../../db/evictions/eviction-view';
import type { RetireReason } from '../../db/schema';
import {
  evictionClasses,
  findStayReason,
  type EvictionClass,
  type StayFacts,
  type StayReason,
} from '../../workflows/contract/eviction';
import { scoreOf } from './score';

/** A candidate, and what decides when it goes. */
export interface Ranked {
  candidate: EvictionCandidate;
  /** H, or seconds since 1970 for `lru`; the lowest go first. */
  score: number;
  /** Set where it may not go, whatever is asked for. */
  stays?: StayReason;
  /** Set where it goes without a request. */
  due?: EvictionClass;
  /** Retired, and nothing holds it: only its deletion is left. */
  isLeftover: boolean;
}

/** @returns every candidate in the order in which they would go: leftovers, then classes, then scores. */
export function rankCandidates(view: EvictionView): Ranked[] {
  const beyondKept = findBeyondKept(view);
  return view.candidates.map((candidate) => rank(candidate, view, beyondKept)).sort(inOrder);
}

/** The one order of eviction: leftovers first, then classes, then the lowest score; ids make it total. */
function inOrder(a: Ranked, b: Ranked): number {
  return (
    Number(b.isLeftover) - Number(a.isLeftover) ||
    classRank(a) - classRank(b) ||
    a.score - b.score ||
    (a.candidate.entry.id < b.candidate.entry.id ? -1 : 1)
  );
}

function classRank({ due }: Ranked): number {
  return evictionClasses.indexOf(due ?? 'pressure');
}

function rank(candidate: EvictionCandidate, view: EvictionView, beyondKept: Set<string>): Ranked {
  const { entry } = candidate;
  const { backend, now } = view;
  const score =
    backend.policy === 'lru'
      ? (entry.lastUsedAt ?? entry.createdAt).getTime() / 1000
      : scoreOf(entry, { backend, now }).priority;
  const stays = findStayReason(stayFactsOf(candidate));
  const isLeftover = stays === undefined && entry.state === 'retired';
  const due = stays === undefined ? findDue(candidate, view, beyondKept) : undefined;
  return { candidate, score, stays, due, isLeftover };
}

/** Without a copy of the whole row: a plan ranks tens of thousands. */
export function stayFactsOf({ entry, leased, awaited }: EvictionCandidate): StayFacts {
  const { state, pinned, clones } = entry;
  return { state, pinned, clones, leased, awaited };
}

function findDue(
  { entry, images }: EvictionCandidate,
  { backend, now }: EvictionView,
  beyondKept: Set<string>,
): EvictionClass | undefined {
  if (entry.state === 'retired') return classOfReason(entry.reason);
  if (images.length > 0 && images.every(({ usable }) => !usable)) return 'image-gone';
  if (beyondKept.has(entry.id)) return 'superseded';
  const unusedMs = now.getTime() - (entry.lastUsedAt ?? entry.createdAt).getTime();
  // An entry that clones hold gives nothing back: it stays of use until they are gone.
  if (backend.idleAgeMs !== null && entry.clones === 0 && unusedMs >= backend.idleAgeMs) return 'idle';
  return undefined;
}

/**
 * @returns superseded entries but for the newest that their follow keeps; those of a follow that is gone are kept as
 *   the backend's limit says.
 */
function findBeyondKept({ candidates, backend, keepOfFollow }: EvictionView): Set<string> {
  const superseded = candidates
    .map(({ entry }) => entry)
    .filter(({ state, supersededAt }) => state === 'ready' && supersededAt !== null)
    .sort((a, b) => (b.supersededAt?.getTime() ?? 0) - (a.supersededAt?.getTime() ?? 0) || (a.id < b.id ? -1 : 1));
  const kept = new Map<string, number>();
  const beyond = superseded.filter(({ supersededBy }) => {
    const follow = supersededBy ?? '';
    const before = kept.get(follow) ?? 0;
    kept.set(follow, before + 1);
    return before >= (keepOfFollow.get(follow) ?? backend.keepSuperseded);
  });
  return new Set(beyond.map(({ id }) => id));
}

/** How a plan names the reason for which an entry was retired before. */
export function classOfReason(reason: RetireReason | null): EvictionClass {
  switch (reason) {
    case 'image-gone':
    case 'superseded':
    case 'quarantined':
    case 'idle':
    case 'requested':
      return reason;
    case 'evicted':
    case 'abandoned':
    case 'policy-changed':
    case 'clone-limit':
    case null:
      return 'pressure';
  }
}

/** Reason that the inventory notes for an entry that goes for this class. */
export function reasonOfClass(evictionClass: EvictionClass): RetireReason {
  return evictionClass === 'pressure' || evictionClass === 'pinning' ? 'evicted' : evictionClass;
}
