import type { EvictionView } from '../../db/evictions/eviction-view';
import type { ReservationNeed, VictimSelection } from '../../db/evictions/victims';
import type { EntryRow } from '../../db/schema';
import { formatBytes } from '../../workflows/contract/bytes';
import { stayReasonOf, type EvictionClass, type StayReason } from '../../workflows/contract/eviction';
import type { EntryId } from '../../workflows/contract/ids';
import { rankCandidates, reasonOfClass, stayFactsOf, type Ranked } from './rank-candidates';
import { limitsShortage, mayHoldMore, reclaimableOf, spaceShortage, selectLowest, type Shortage } from './shortages';

/** One purpose of a choice; several are met one after the other and share what they choose. */
export type Demand =
  /** All that is due, and what limits and watermarks need. */
  | { kind: 'sweep' }
  | { kind: 'named'; entryIds: EntryId[]; why: string }
  /** So much, by rank. */
  | { kind: 'rank'; bytes?: number; count?: number; why: string }
  /**
   * Enough for one reservation of `bytes`, or nothing. `neededBytes` and `neededCount`: by how much the limits are in
   * its way.
   */
  | { kind: 'reservation'; bytes: number; neededBytes: number; neededCount: number };

/** One entry that goes. */
export interface Chosen extends Ranked {
  class: EvictionClass;
  /** One sentence. */
  why: string;
  /** Index of the demand that it was chosen for. */
  demand: number;
  /** Clones hold it: it is retired and goes with the last of them. */
  held: boolean;
}

export interface Selection {
  /** In the order in which they go. */
  chosen: Chosen[];
  /** Every other candidate. */
  stay: (Ranked & { why: StayReason })[];
  /** Value that the eviction clock is to be raised to. */
  clock: number;
  /**
   * Limits still need more than was found among what nothing holds: choose again among more, the parents that clones
   * hold with them.
   */
  isShort: boolean;
}

/** The whole policy: pure, the same for a reservation, a request and a sweep. */
export function chooseEvictions(view: EvictionView, demands: Demand[]): Selection {
  const ranked = rankCandidates(view);
  const round: Round = { view, ranked, chosen: new Map(), isShort: false };
  demands.forEach((demand, index) => meetDemand(round, demand, index));
  const chosen = ranked.flatMap((each) => round.chosen.get(each.candidate.entry.id) ?? []);
  return {
    chosen,
    stay: ranked
      .filter(({ candidate }) => !round.chosen.has(candidate.entry.id))
      .map((each) => ({ ...each, why: stayReasonOf(stayFactsOf(each.candidate)) })),
    clock: clockAfter(view, chosen),
    isShort: round.isShort,
  };
}

/** Chooses entries to go for a reservation of `bytes`: enough, or none. Pure. */
export function chooseForReservation(bytes: number): (view: EvictionView, need: ReservationNeed) => VictimSelection {
  return (view, need) => toVictims(chooseEvictions(view, [{ kind: 'reservation', bytes, ...need }]));
}

/** A selection, as the inventory is told of it. */
export function toVictims({ chosen, clock, isShort }: Selection): VictimSelection {
  const victims = chosen.map(({ candidate, class: evictionClass, why }) => ({
    entryId: candidate.entry.id,
    reason: reasonOfClass(evictionClass),
    detail: `${evictionClass}: ${why}`,
  }));
  return { victims, clock, isShort };
}

/** One choice under way. */
interface Round {
  view: EvictionView;
  /** In the order in which they go. */
  ranked: Ranked[];
  chosen: Map<EntryId, Chosen>;
  isShort: boolean;
}

function meetDemand(round: Round, demand: Demand, index: number): void {
  switch (demand.kind) {
    case 'named':
      return chooseNamed(round, demand, index);
    case 'rank':
      return chooseByRank(round, demand, index);
    case 'sweep':
      return chooseDue(round, index);
    case 'reservation':
      return chooseVictims(round, demand, index);
  }
}

function chooseNamed(round: Round, { entryIds, why }: Extract<Demand, { kind: 'named' }>, demand: number): void {
  const named = new Set(entryIds);
  for (const each of free(round, { withHeld: true })) {
    if (!named.has(each.candidate.entry.id)) continue;
    choose(round, each, { class: classOfRequested(each), why, demand });
  }
}

function chooseByRank(round: Round, { bytes, count, why }: Extract<Demand, { kind: 'rank' }>, demand: number): void {
  const shortage: Shortage = { bytes: bytes ?? 0, count: count ?? 0, measure: reclaimableOf };
  for (const each of selectLowest(free(round), shortage).selected)
    choose(round, each, { class: classOfRequested(each), why, demand });
}

/** An entry that is retired already keeps the class that it went for. */
function classOfRequested({ isLeftover, due }: Ranked): EvictionClass {
  return isLeftover ? (due ?? 'requested') : 'requested';
}

function chooseDue(round: Round, demand: number): void {
  for (const each of free(round, { withHeld: true }))
    if (each.due !== undefined) choose(round, each, { class: each.due, why: whyItIsDue(each), demand });
  chooseForLimits(round, demand);
  chooseForSpace(round, demand);
}

/**
 * Limits that an operator has lowered: by rank, and where nothing else is left, parents that clones hold leave the
 * limits.
 */
function chooseForLimits(round: Round, demand: number): void {
  const over = limitsShortage(round);
  if (over === undefined) return;
  const lowest = selectLowest(free(round), over);
  for (const each of lowest.selected) choose(round, each, { class: 'pressure', why: over.why, demand });
  if (lowest.isEnough) return;
  round.isShort = true;
  const left = limitsShortage(round);
  if (left === undefined || !mayHoldMore(round.view, 0)) return;
  for (const each of selectLowest(held(round), left).selected)
    choose(round, each, { class: each.due ?? 'pinning', why: left.why, demand });
}

/** An entry that clones hold would give the backend nothing back: it stays. */
function chooseForSpace(round: Round, demand: number): void {
  const low = spaceShortage(round);
  if (low === undefined) return;
  const lowest = selectLowest(free(round), low);
  for (const each of lowest.selected) choose(round, each, { class: 'pressure', why: low.why, demand });
  if (!lowest.isEnough) round.isShort = true;
}

function chooseVictims(
  round: Round,
  { bytes, neededBytes, neededCount }: Extract<Demand, { kind: 'reservation' }>,
  demand: number,
): void {
  const shortage: Shortage = { bytes: neededBytes, count: neededCount, measure: countedOf };
  const why = `room for a population of ${formatBytes(bytes)}`;
  const pool = free(round).filter(({ candidate }) => candidate.entry.counted);
  const lowest = selectLowest(pool, shortage);
  const victims = lowest.isEnough ? withoutNeedless(lowest.selected, shortage) : [...lowest.selected];
  if (!lowest.isEnough) {
    round.isShort = true;
    const coming = victims.reduce((sum, each) => sum + reclaimableOf(each.candidate.entry), 0);
    if (!mayHoldMore(round.view, bytes - coming)) return;
    const rest = selectLowest(held(round), lowest.left);
    if (!rest.isEnough) return;
    victims.push(...rest.selected);
  }
  for (const each of victims)
    choose(round, each, { class: each.due ?? (isHeld(each) ? 'pinning' : 'pressure'), why, demand });
}

/** Smaller victims of a lower rank that a large one makes needless stay: the dearest first. */
function withoutNeedless(victims: Ranked[], shortage: Shortage): Ranked[] {
  let bytes = victims.reduce((sum, each) => sum + shortage.measure(each.candidate.entry), 0) - shortage.bytes;
  let count = victims.length - shortage.count;
  const needless = new Set<Ranked>();
  for (const victim of victims.toReversed()) {
    if (victim.isLeftover || victim.due !== undefined || shortage.measure(victim.candidate.entry) > bytes || count < 1)
      continue;
    needless.add(victim);
    bytes -= shortage.measure(victim.candidate.entry);
    count -= 1;
  }
  return victims.filter((victim) => !needless.has(victim));
}

function choose(round: Round, each: Ranked, as: Pick<Chosen, 'class' | 'why' | 'demand'>): void {
  round.chosen.set(each.candidate.entry.id, { ...each, ...as, held: isHeld(each) });
}

/** Entries that may go and are not chosen yet, in order; without `withHeld` only those that can be deleted at once. */
function free({ ranked, chosen }: Round, { withHeld = false } = {}): Ranked[] {
  return ranked.filter(
    (each) =>
      each.stays === undefined &&
      !chosen.has(each.candidate.entry.id) &&
      (withHeld || each.candidate.entry.clones === 0),
  );
}

function held(round: Round): Ranked[] {
  return free(round, { withHeld: true }).filter((each) => isHeld(each) && each.candidate.entry.counted);
}

function isHeld({ candidate }: Ranked): boolean {
  return candidate.entry.clones > 0;
}

function countedOf({ counted, realBytes }: EntryRow): number {
  return counted ? realBytes : 0;
}

/** An entry that goes by its score raises the clock: entries that were not used since count as older. */
function clockAfter({ backend }: EvictionView, chosen: Chosen[]): number {
  if (backend.policy === 'lru') return backend.evictionClock;
  const scores = chosen
    .filter(({ class: name }) => name === 'pressure' || name === 'pinning')
    .map(({ score }) => score);
  return Math.max(backend.evictionClock, ...scores);
}

function whyItIsDue({ isLeftover, due, candidate }: Ranked): string {
  if (isLeftover)
    return `retired${candidate.entry.reason === null ? '' : ` (${candidate.entry.reason})`}, and nothing needs it any more`;
  if (due === 'image-gone') return 'every image that it serves is deleted or deactivated';
  if (due === 'superseded') return 'newer content of its follow is ready, and more generations exist than are kept';
  return 'it was not used for longer than idleAge';
}
