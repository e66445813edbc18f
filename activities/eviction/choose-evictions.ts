import type { EvictionView } from '../../db/evictions/eviction-view';
import { formatBytes } from '../../workflows/contract/bytes';
import { stayReasonOf, type EvictionClass, type StayReason } from '../../workflows/contract/eviction';
import type { EntryId } from '../../workflows/contract/ids';
import { judgeCandidates, type Judged } from './judge';
import { reclaimableOf, takeLowest, type Shortage } from './take-lowest';
import { limitsShortage, mayHoldMore, spaceShortage } from './shortages';

/** What is asked of one choice; several are served one after the other and share what they take. */
export type Demand =
  /** Whatever is due, and what limits and watermarks need. */
  | { kind: 'sweep' }
  | { kind: 'named'; entryIds: EntryId[]; why: string }
  /** So much, by rank. */
  | { kind: 'rank'; bytes?: number; count?: number; why: string }
  /** Enough for one reservation of `bytes`, or nothing. `neededBytes` and `neededCount`: by how much the limits are in its way. */
  | { kind: 'reservation'; bytes: number; neededBytes: number; neededCount: number };

/** One entry that goes. */
export interface Chosen extends Judged {
  class: EvictionClass;
  /** One sentence. */
  why: string;
  /** Index of the demand that took it. */
  demand: number;
  /** Clones hold it: it is retired and goes with the last of them. */
  held: boolean;
}

export interface Selection {
  /** In the order in which they go. */
  chosen: Chosen[];
  /** Everything that was looked at and is not chosen. */
  stay: (Judged & { why: StayReason })[];
  /** What the eviction clock is to be raised to. */
  clock: number;
  /** Limits still need more than was found among what nothing holds: look at the parents that clones hold, and further down the rank. */
  isShort: boolean;
}

/** The whole policy: pure, the same for a reservation, a request and a sweep. */
export function chooseEvictions(view: EvictionView, demands: Demand[]): Selection {
  const judged = judgeCandidates(view);
  const round: Round = { view, judged, taken: new Map(), isShort: false };
  demands.forEach((demand, index) => serve(round, demand, index));
  const chosen = judged.flatMap((each) => round.taken.get(each.candidate.entry.id) ?? []);
  return {
    chosen,
    stay: judged
      .filter(({ candidate }) => !round.taken.has(candidate.entry.id))
      .map((each) => ({ ...each, why: stayReasonOf({ ...each.candidate.entry, ...each.candidate }) })),
    clock: clockAfter(view, chosen),
    isShort: round.isShort,
  };
}

/** One choice under way. */
interface Round {
  view: EvictionView;
  /** In the order in which they go. */
  judged: Judged[];
  taken: Map<EntryId, Chosen>;
  isShort: boolean;
}

function serve(round: Round, demand: Demand, index: number): void {
  switch (demand.kind) {
    case 'named':
      return takeNamed(round, demand, index);
    case 'rank':
      return takeByRank(round, demand, index);
    case 'sweep':
      return takeDue(round, index);
    case 'reservation':
      return takeForReservation(round, demand, index);
  }
}

function takeNamed(round: Round, { entryIds, why }: Extract<Demand, { kind: 'named' }>, demand: number): void {
  const named = new Set(entryIds);
  for (const judged of free(round, { withHeld: true })) {
    if (!named.has(judged.candidate.entry.id)) continue;
    take(round, judged, { class: classOfRequested(judged), why, demand });
  }
}

function takeByRank(round: Round, { bytes, count, why }: Extract<Demand, { kind: 'rank' }>, demand: number): void {
  const shortage: Shortage = { bytes: bytes ?? 0, count: count ?? 0, measure: reclaimableOf };
  for (const judged of takeLowest(free(round), shortage).taken)
    take(round, judged, { class: classOfRequested(judged), why, demand });
}

/** What is retired already keeps the class that it went for. */
function classOfRequested({ isLeftover, due }: Judged): EvictionClass {
  return isLeftover ? (due ?? 'requested') : 'requested';
}

function takeDue(round: Round, demand: number): void {
  for (const judged of free(round, { withHeld: true }))
    if (judged.due !== undefined) take(round, judged, { class: judged.due, why: whyItIsDue(judged), demand });
  takeForLimits(round, demand);
  takeForSpace(round, demand);
}

/** Limits that an operator has lowered: by rank, and where nothing else is left, parents that clones hold leave the limits. */
function takeForLimits(round: Round, demand: number): void {
  const over = limitsShortage(round);
  if (over === undefined) return;
  const lowest = takeLowest(free(round), over);
  for (const judged of lowest.taken) take(round, judged, { class: 'pressure', why: over.why, demand });
  if (lowest.isEnough) return;
  round.isShort = true;
  const left = limitsShortage(round);
  if (left === undefined || !mayHoldMore(round.view, 0)) return;
  for (const judged of takeLowest(held(round), left).taken)
    take(round, judged, { class: judged.due ?? 'pinning', why: left.why, demand });
}

/** What clones hold would give the backend nothing back: it stays. */
function takeForSpace(round: Round, demand: number): void {
  const low = spaceShortage(round);
  if (low === undefined) return;
  const lowest = takeLowest(free(round), low);
  for (const judged of lowest.taken) take(round, judged, { class: 'pressure', why: low.why, demand });
  if (!lowest.isEnough) round.isShort = true;
}

function takeForReservation(
  round: Round,
  { bytes, neededBytes, neededCount }: Extract<Demand, { kind: 'reservation' }>,
  demand: number,
): void {
  const shortage: Shortage = { bytes: neededBytes, count: neededCount, measure: countedOf };
  const why = `room for a population of ${formatBytes(bytes)}`;
  const pool = free(round).filter(({ candidate }) => candidate.entry.counted);
  const lowest = takeLowest(pool, shortage);
  const victims = lowest.isEnough ? withoutNeedless(lowest.taken, shortage) : [...lowest.taken];
  if (!lowest.isEnough) {
    round.isShort = true;
    const coming = victims.reduce((sum, each) => sum + reclaimableOf(each), 0);
    if (!mayHoldMore(round.view, bytes - coming)) return;
    const rest = takeLowest(held(round), lowest.left);
    if (!rest.isEnough) return;
    victims.push(...rest.taken);
  }
  for (const judged of victims)
    take(round, judged, { class: judged.due ?? (isHeld(judged) ? 'pinning' : 'pressure'), why, demand });
}

/** What a large victim makes needless among smaller ones of a lower rank stays: the dearest first. */
function withoutNeedless(victims: Judged[], shortage: Shortage): Judged[] {
  let bytes = victims.reduce((sum, each) => sum + shortage.measure(each), 0) - shortage.bytes;
  let count = victims.length - shortage.count;
  const needless = new Set<Judged>();
  for (const victim of victims.toReversed()) {
    if (victim.isLeftover || victim.due !== undefined || shortage.measure(victim) > bytes || count < 1) continue;
    needless.add(victim);
    bytes -= shortage.measure(victim);
    count -= 1;
  }
  return victims.filter((victim) => !needless.has(victim));
}

function take(round: Round, judged: Judged, as: Pick<Chosen, 'class' | 'why' | 'demand'>): void {
  round.taken.set(judged.candidate.entry.id, { ...judged, ...as, held: isHeld(judged) });
}

/** What may go and is not taken yet, in order; without `withHeld` only what can be deleted at once. */
function free({ judged, taken }: Round, { withHeld = false } = {}): Judged[] {
  return judged.filter(
    (each) =>
      each.stays === undefined &&
      !taken.has(each.candidate.entry.id) &&
      (withHeld || each.candidate.entry.clones === 0),
  );
}

function held(round: Round): Judged[] {
  return free(round, { withHeld: true }).filter((each) => isHeld(each) && each.candidate.entry.counted);
}

function isHeld({ candidate }: Judged): boolean {
  return candidate.entry.clones > 0;
}

function countedOf({ candidate }: Judged): number {
  return candidate.entry.counted ? candidate.entry.realBytes : 0;
}

/** What falls out by its score makes whatever was not used since look older. */
function clockAfter({ backend }: EvictionView, chosen: Chosen[]): number {
  if (backend.policy === 'lru') return backend.evictionClock;
  const scores = chosen
    .filter(({ class: name }) => name === 'pressure' || name === 'pinning')
    .map(({ score }) => score);
  return Math.max(backend.evictionClock, ...scores);
}

function whyItIsDue({ isLeftover, due, candidate }: Judged): string {
  if (isLeftover)
    return `retired${candidate.entry.reason === null ? '' : ` (${candidate.entry.reason})`}, and nothing holds it any more`;
  if (due === 'image-gone') return 'every image that it serves is deleted or deactivated';
  if (due === 'superseded') return 'newer content of its follow is ready, and more generations are there than are kept';
  return 'it was not used for longer than idleAge';
}
